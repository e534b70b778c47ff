package config

import "strings"

// URLBases is a repeatable key, one [URLBase] to a line.
type URLBases []string

func (v *URLBases) Set(text string) error {
	var base URLBase
	if err := base.Set(text); err != nil {
		return err
	}
	*v = append(*v, text)
	return nil
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
