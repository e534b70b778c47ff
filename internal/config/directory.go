package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Directory is the section [Directory]: the role of a directory authority.
type Directory struct {
	Enabled        bool
	Listen         ListenAddresses
	BehindProxy    bool
	URL            URLBase
	Authority      Authorities
	ClientVersions List
	ServerVersions List
	Contact        string
	Policy         string
	StorageDir     Path
	AutoApprove    bool
}

func (d *Directory) keys() []Key {
	return []Key{
		{Name: "Enabled", To: &d.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "Listen", To: &d.Listen, Example: "0.0.0.0:80",
			Doc: "An address and port, host:port, where the directory is served over HTTP. May be given again. Needed when Enabled."},
		{Name: "BehindProxy", To: &d.BehindProxy, Default: "no",
			Doc: "Whether all requests come through a web server of yours, which names the sender of an upload as the last one in X-Forwarded-For."},
		{Name: "URL", To: &d.URL, Example: "http://directory.example.com/",
			Doc: "The URL under which the world finds the documents of this authority, with a / at its end. It is published. Needed when Enabled."},
		{Name: "Authority", To: &d.Authority, Example: "0123456789ABCDEF0123456789ABCDEF01234567 http://directory.example.com/",
			Doc: "A member of the voting group: the fingerprint of its identity key, a blank, and its URL. One line for each member, " +
				"this authority included; all members must have the same lines."},
		{Name: "ClientVersions", To: &d.ClientVersions, Example: "0.0.8alpha3, 0.1.0",
			Doc: "The versions of mixminion to recommend to users, separated by commas."},
		{Name: "ServerVersions", To: &d.ServerVersions, Example: "0.0.8alpha3, 0.1.0",
			Doc: "The versions of mixminiond to recommend to operators, separated by commas."},
		{Name: "Contact", To: &d.Contact,
			Doc: "Where to write about this directory, shown on its page. Without it, that is Contact-Email of [Server]."},
		{Name: "Policy", To: &d.Policy,
			Doc: "What this authority asks of a mix before it approves it, shown on its page."},
		{Name: "StorageDir", To: &d.StorageDir, Default: "directory",
			Doc: "The directory of descriptors, decisions and votes."},
		{Name: "AutoApprove", To: &d.AutoApprove, Default: "no",
			Doc: "Whether to approve every new mix without asking. For test networks only: anybody could fill the directory."},
	}
}

func (d *Directory) check(p *problems) {
	const in = "Directory"
	checkAuthorities(p, in, d.Authority)
	if !d.Enabled {
		return
	}
	if len(d.Listen) == 0 {
		p.add(in, "Listen", "is missing; say where to serve the directory, like 0.0.0.0:80")
	}
	if d.URL == "" {
		p.add(in, "URL", "is missing; say under which URL others find this directory")
	}
	if d.StorageDir == "" {
		p.add(in, "StorageDir", "is missing; name a directory for descriptors and votes")
	}
}

func (d *Directory) warn(w *warnings) {
	if d.Enabled && d.AutoApprove {
		w.add("Directory", "AutoApprove", "is yes: anybody can have a mix listed; it is for test networks")
	}
	if d.Enabled && len(d.Authority) == 0 {
		w.add("Directory", "Authority", "is not given: this authority votes with nobody")
	}
}

// URLBase is the URL that all documents of a directory stand under (dir-spec 5.1). It ends with a slash.
type URLBase string

func (v *URLBase) Set(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > 256 || strings.ContainsAny(text, " \t\"<>\\^`{|}"):
		return fmt.Errorf("%s is not a URL", quote(text))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fmt.Errorf("%s does not begin with http:// or https:// and a host", quote(text))
	case strings.ContainsAny(text, "?#") || !strings.HasSuffix(text, "/"):
		return fmt.Errorf("%s does not end with a /", quote(text))
	}
	*v = URLBase(text)
	return nil
}
func (v *URLBase) String() string { return string(*v) }
func (v *URLBase) Kind() string   { return "URL" }

// Authority is one member of a voting group: the fingerprint of its identity key, in upper-case hexadecimal, and its URL base.
type Authority struct {
	Fingerprint string
	URL         URLBase
}

func (v Authority) String() string { return v.Fingerprint + " " + string(v.URL) }

func (v *Authority) set(text string) error {
	words := strings.Fields(text)
	if len(words) != 2 {
		return fmt.Errorf("%s is not a fingerprint and a URL with a blank between them", quote(text))
	}
	if !isFingerprint(words[0]) {
		return fmt.Errorf("%s is not a fingerprint of 40 hexadecimal digits", quote(words[0]))
	}
	v.Fingerprint = strings.ToUpper(words[0])
	return v.URL.Set(words[1])
}

func isFingerprint(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// Authorities is a repeatable key, one [Authority] to a line.
type Authorities []Authority

func (v *Authorities) Set(text string) error {
	var a Authority
	if err := a.set(text); err != nil {
		return err
	}
	*v = append(*v, a)
	return nil
}

func (v *Authorities) Values() []string {
	var out []string
	for _, a := range *v {
		out = append(out, a.String())
	}
	return out
}
func (v *Authorities) String() string { return strings.Join(v.Values(), "; ") }
func (v *Authorities) Kind() string   { return "fingerprint and URL" }

// ListenAddresses is a repeatable key, one host:port to a line. The port 0 means any that is free.
type ListenAddresses []string

func (v *ListenAddresses) Set(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err == nil && !isHost(host) {
		err = errors.New("no host")
	}
	if port != "0" && err == nil {
		err = new(Port).Set(port)
	}
	if err != nil {
		return fmt.Errorf("%s is not an address and a port like 0.0.0.0:80 or [::]:80", quote(text))
	}
	*v = append(*v, text)
	return nil
}
func (v *ListenAddresses) Values() []string { return *v }
func (v *ListenAddresses) String() string   { return strings.Join(*v, "; ") }
func (v *ListenAddresses) Kind() string     { return "host:port" }
