package dirclient

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// ErrProxy says that a proxy cannot be used, or that it is not clear whether one shall be.
var ErrProxy = errors.New("proxy")

// A Proxy says through what connections go. Its zero value goes through none, whatever the environment says.
type Proxy struct {
	fixed       *url.URL
	environment bool
	refusal     error
}

// The words that ParseProxy takes beside URLs.
const (
	ProxyNone        = "none"
	ProxyEnvironment = "environment"
)

// ParseProxy reads what a configuration says about a proxy: "none"; "environment" for what the variables http_proxy,
// https_proxy and no_proxy say; or the URL of a proxy, http://, https:// or socks5://. A SOCKS proxy is given the names
// of hosts, which are not looked up here. Errors wrap ErrProxy.
func ParseProxy(text string) (Proxy, error) {
	switch text {
	case "", ProxyNone:
		return Proxy{}, nil
	case ProxyEnvironment:
		return Proxy{environment: true}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error would repeat the URL, which may hold a password.
		return Proxy{}, fmt.Errorf("%w: not a URL", ErrProxy)
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return Proxy{}, fmt.Errorf("%w: neither none nor environment nor a URL that begins with http://, https:// or socks5://", ErrProxy)
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return Proxy{}, fmt.Errorf("%w: the URL must be of the form %s://host:port", ErrProxy, u.Scheme)
	}
	return Proxy{fixed: u}, nil
}

// ProxyVariables are the variables of the environment that name proxies.
var ProxyVariables = []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}

// DecideProxy reads what a user's configuration says about a proxy, as ParseProxy does. If it says nothing and the
// environment names a proxy, the result refuses every connection: who set the variable may count on it to hide who
// downloads, and must not be let down in silence.
func DecideProxy(configured string, getenv func(string) string) (Proxy, error) {
	if configured != "" {
		return ParseProxy(configured)
	}
	for _, name := range ProxyVariables {
		if getenv(name) != "" {
			return Proxy{refusal: fmt.Errorf("%w: %s is set, but the configuration does not say whether to use it: "+
				"write Proxy: environment, or Proxy: none, into the section [DirectoryServers]", ErrProxy, name)}, nil
		}
	}
	return Proxy{}, nil
}

func onlyAllProxy() bool {
	all := false
	for _, name := range ProxyVariables {
		if os.Getenv(name) == "" {
			continue
		}
		if !strings.EqualFold(name, "all_proxy") {
			return false
		}
		all = true
	}
	return all
}

func (p Proxy) choose(r *http.Request) (*url.URL, error) {
	switch {
	case p.refusal != nil:
		return nil, p.refusal
	case p.environment:
		u, err := http.ProxyFromEnvironment(r)
		if u == nil && err == nil && onlyAllProxy() {
			err = fmt.Errorf("%w: of the environment only http_proxy and https_proxy are understood, not all_proxy; "+
				"give its URL in the configuration", ErrProxy)
		}
		return u, err
	default:
		return p.fixed, nil
	}
}
