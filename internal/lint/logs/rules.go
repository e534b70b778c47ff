package main

import (
	"go/types"
	"regexp"
	"strings"
)

// module is the path of this module.
const module = "mixminion/"

// private are types that tell who talks to whom, or what: those of these packages and of the rooms below, and all
// arrays and slices of bytes.
var private = map[string]bool{
	"net/netip.Addr": true, "net/netip.AddrPort": true, "net/netip.Prefix": true,
	"net.IP": true, "net.IPMask": true, "net.IPNet": true, "net.IPAddr": true, "net.TCPAddr": true, "net.UDPAddr": true, "net.UnixAddr": true,
	"net.Addr": true, "net.Conn": true, "net.Listener": true, "net.TCPConn": true, "crypto/tls.Conn": true, "crypto/tls.ConnectionState": true,
	"net/url.URL": true, "net/url.Userinfo": true, "net/http.Request": true, "net/mail.Address": true,
	module + "internal/store.ID": true, module + "internal/store.Item": true, module + "internal/store.Entry": true,
	"crypto/rsa.PrivateKey": true, "crypto/rsa.PublicKey": true, "math/big.Int": true, "crypto/x509.Certificate": true,
}

// rooms whose types are private but for harmless ones.
var rooms = map[string]bool{
	module + "packet": true, module + "internal/crypt": true, module + "delivery": true,
	module + "delivery/mail": true, module + "message": true, module + "message/keyring": true,
}

var harmless = map[string]bool{
	module + "packet.RoutingType": true,
	module + "delivery.TLSMode":   true, module + "delivery.Reason": true, module + "delivery.Status": true, module + "delivery.smartHost": true,
}

// packetRooms are those whose errors are checked, too.
var packetRooms = []string{"mix", "mmtp", "delivery", "internal/store", "packet"}

// telling are names of texts that tell who talks to whom.
var telling = regexp.MustCompile(`(?i)^(addr|address|host|hostname|peer|remote|rcpts?|recipients?|mailbox|to|from|sender|subject|user|username|password)$`)

// public is the conversion by which a text is said to be fit for a log.
const public = module + "internal/logging.Public"

// name is the name of a type, with its package; "" if it has none.
func name(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return ""
	}
	return n.Obj().Pkg().Path() + "." + n.Obj().Name()
}

// isPrivate reports whether values of a type must not be in a log.
func isPrivate(t types.Type) bool {
	switch n := name(t); {
	case private[n]:
		return true
	case harmless[n] || isError(t):
		return false
	case n != "" && rooms[n[:strings.LastIndex(n, ".")]]:
		return true
	}
	switch u := t.Underlying().(type) {
	case *types.Slice:
		return isByte(u.Elem()) || isPrivate(u.Elem())
	case *types.Array:
		return isByte(u.Elem()) || isPrivate(u.Elem())
	}
	return false
}

func isByte(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uint8
}

// isRecognized reports whether package logging finds a value of a type in a text.
func isRecognized(t types.Type) bool {
	n := name(t)
	return strings.HasPrefix(n, "net/netip.") || strings.HasPrefix(n, "net.")
}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

func isError(t types.Type) bool { return types.Implements(t, errorType) }

// isPlain reports whether a type is one of numbers, truth values and times.
func isPlain(t types.Type) bool {
	switch name(t) {
	case "time.Time", "time.Duration", "log/slog.Level":
		return true
	}
	b, ok := types.Unalias(t).(*types.Basic)
	return ok && b.Info()&types.IsString == 0
}

func isText(t types.Type) bool {
	b, ok := types.Unalias(t).(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// isTexts reports whether a type is that of a text or of a list of texts.
func isTexts(t types.Type) bool {
	s, ok := t.Underlying().(*types.Slice)
	return isText(t) || ok && isText(s.Elem())
}

// hasLogValue reports whether a type says itself what may be logged of it.
func hasLogValue(t types.Type) bool {
	o, _, _ := types.LookupFieldOrMethod(t, true, nil, "LogValue")
	_, ok := o.(*types.Func)
	return ok
}
