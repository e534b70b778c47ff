package config

import (
	"slices"
	"strings"
)

// URLBases is a repeatable key, one [URLBase] to a line. Addresses of documents of the one directory server that there
// was in the time of 0.0.8 are legal and left out.
type URLBases []string

func (v *URLBases) Set(text string) error {
	var base URLBase
	if slash := strings.LastIndexByte(text, '/') + 1; slices.Contains(oldDocuments, text[slash:]) {
		return base.Set(text[:slash])
	}
	if err := base.Set(text); err != nil {
		return err
	}
	*v = append(*v, text)
	return nil
}

// oldDocuments are what 0.0.8 downloaded and where it published. It read the keys with their addresses, and did not heed them.
var oldDocuments = []string{"Directory.gz", "Directory", "publish"}

// warnOldURLs says that a key has only addresses that are left out.
func warnOldURLs(w *warnings, key string, list URLBases) {
	if len(list) == 0 && w.file.Given("DirectoryServers", key) {
		w.add("DirectoryServers", key, "names the directory server of 0.0.8, which this version does not use")
	}
}
func (v *URLBases) String() string   { return strings.Join(*v, "; ") }
func (v *URLBases) Values() []string { return *v }
func (v *URLBases) Kind() string     { return "URL" }

const (
	authorityDoc = "A directory authority that you trust: the fingerprint of its identity key and its URL. Write one line for each. " +
		"A directory counts only if more than half of them have signed it. These lines replace the list that is built in."
	mirrorDoc = "A place to download the directory from beside the authorities: any web server that has their files. It need not be trusted."
	proxyDoc  = "The proxy for connections to directory servers: none, environment (what http_proxy and https_proxy say), " +
		"or a URL that begins with http://, https:// or socks5://. Tor is socks5://127.0.0.1:9050."
	skewDoc    = "How far the clock of a directory server may differ from ours."
	skewUnused = "a directory is taken from an hour before it begins"

	authorityExample = "0123456789ABCDEF0123456789ABCDEF01234567 https://directory.example.com/"
	mirrorExample    = "https://mirror.example.com/mixminion/"
)

func checkAuthorities(p *problems, in string, list Authorities) {
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a.Fingerprint] {
			p.add(in, "Authority", "%s stands in two lines", a.Fingerprint)
		}
		seen[a.Fingerprint] = true
	}
}
