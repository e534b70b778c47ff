package main

// module is the path of this module; imports below it are judged as rooms.
const module = "mixminion"

// layers lists the rooms from the top. A room may import rooms of lower layers,
// and of its own layer only what siblings allows. A package belongs to the
// room whose path is its own or the start of it.
var layers = [][]string{
	{"cmd", "internal/gendocs"},
	{"internal/cli"},
	{"internal/testnet"},
	{"client", "mix", "authority", "gateway"},
	{"mmtp", "delivery", "path", "dirclient"},
	{"internal/config", "internal/store", "internal/legacytls", "internal/clock", "internal/harden", "internal/localsock", "internal/control", "internal/logging", "internal/vault"},
	{"packet", "message", "directory"},
	{"internal/crypt", "internal/armor", "internal/zlib", "internal/uniform"},
	{"internal/firstimpl"},
}

// siblings are the imports within a layer that are meant.
var siblings = map[string][]string{
	"message":   {"packet"}, // constants and types of packets
	"directory": {"packet"}, // a descriptor gives the node that packets go to

	"internal/control": {"internal/localsock"},
	"internal/vault":   {"internal/store"}, // its package durable
}

// only lists who may import a room, where lower is not enough, or a module
// from outside.
var only = map[string][]string{
	"internal/testnet":   {"internal/cli"}, // the demo; tests are not judged
	"internal/config":    {"cmd", "internal/cli", "internal/testnet", "client", "mix", "authority", "gateway", "delivery"},
	"internal/store":     {"cmd", "internal/cli", "internal/testnet", "client", "mix", "authority", "gateway", "delivery", "dirclient", "internal/vault"},
	"internal/legacytls": {"mmtp"},
	"internal/harden":    {"cmd", "internal/cli"},
	"internal/control":   {"internal/cli"},
	"internal/vault":     {"internal/cli", "mix"},

	"github.com/emersion/go-message": {"client", "delivery", "gateway"}, // who take mails apart

	"filippo.io/age": {"client", "mix", "internal/cli"}, // mix: its package backup

	"github.com/zmap/zcrypto": {"internal/legacytls"},

	"github.com/spf13/cobra": {"cmd", "internal/cli"},
	"github.com/spf13/pflag": {"cmd", "internal/cli"},
}

// pure rooms have no input, output or clock: what they return depends on
// their arguments alone. They import no rooms but pure ones.
var pure = []string{
	"packet", "message", "directory", "path", "delivery/mail", "client/pickle",
	"internal/crypt", "internal/armor", "internal/zlib", "internal/uniform",
}

// impure packages, and those below them, may not be imported by pure rooms.
var impure = []string{
	"database", "io/ioutil", "log", "net", "os", "syscall", "golang.org/x/sys",
}

// harmless packages are exceptions to impure.
var harmless = []string{"net/netip"}

// clock names what pure rooms may not use of package time.
var clock = map[string]bool{
	"After": true, "AfterFunc": true, "NewTicker": true, "NewTimer": true, "Now": true,
	"Since": true, "Sleep": true, "Tick": true, "Until": true,
}

// unguarded packages are forbidden everywhere: who can guess a random choice
// can follow a packet.
var unguarded = []string{"math/rand"}

// testOnly packages serve tests: only test files import them, and they may
// make random choices that can be repeated.
var testOnly = []string{"internal/firstimpl", "internal/store/crashfs", "internal/testnet/freeport", "internal/testnet/postfix"}

// exempt packages are tools of development and belong to no room.
var exempt = []string{"internal/lint"}
