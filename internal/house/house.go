// Package house holds the rules of the house as tests: which room may import which, what a pure room must not do, what no tracked file may say.
//
// A rule is a line in a table below with the reason beside it. When a test here fails, it says the rule and the reason in one sentence: change the
// code, or argue the rule in docs/decisions and change the table. The package has nothing to import.
package house

// room is one place of the project and what it may import of ours. A package belongs to the room with the longest path that is its own or a
// parent's: sip/wire belongs to sip/wire, sip/wire/x too.
type room struct {
	path string
	// may lists the rooms that its code may import. A room may always import the packages inside itself.
	may []string
	// pure says that the room decides: no I/O, no clock, no goroutine.
	pure bool
	// sipgo says that the room may import sipgo.
	sipgo bool
	why   string
}

// anyRoom in a room's may list stands for every room but cmd, test and internal/house.
const anyRoom = "*"

var rooms = []room{
	{path: "cmd", may: []string{"app", "console"}, why: "a command is a few lines: it starts app, or asks a running node through the console's API"},
	{path: "app", may: []string{anyRoom}, why: "app puts the rooms together"},
	{path: "call", may: []string{"policy", "health"}, pure: true, why: "call decides the fate of one call and must be steppable without a network"},
	{path: "policy", may: []string{"health"}, pure: true, why: "policy makes plans from a view of the world and knows only health's types"},
	{path: "health", pure: true, why: "health weighs evidence and knows nobody"},
	{path: "sip", may: []string{"call", "policy", "health", "sip/leg", "sip/txn", "sip/wire", "media", "media/sdp", "media/voice"}, sipgo: true, why: "sip turns messages into events and actions into messages, and decides nothing about configuration or display"},
	{path: "sip/leg", pure: true, why: "a leg is plain data that sip fills"},
	{path: "sip/txn", pure: true, why: "a transaction is a machine with a deadline and gets small structs that sip fills"},
	{path: "sip/wire", sipgo: true, why: "wire carries messages and has no opinion on calls"},
	{path: "media", may: []string{"media/sdp", "media/voice"}, why: "media relays packets and knows no call"},
	{path: "media/voice", why: "a recording is bytes in, packets' payloads out; it knows no socket"},
	{path: "media/sdp", pure: true, why: "SDP is edited as text, bytes in and bytes out"},
	{path: "journal", why: "the book is written by everybody and knows nobody"},
	{path: "hep", why: "copies of messages leave by UDP; what is copied is handed in"},
	{path: "notify", why: "notices leave the house by mail and webhook; who is told what is handed in"},
	{path: "console", may: []string{"journal", "health", "call"}, why: "the console shows what app hands it"},
	{path: "drill", may: []string{"journal", "health"}, why: "a drill places test calls through an interface that app fills"},
	{path: "cluster", may: []string{"call", "health"}, why: "nodes exchange verdicts and snapshots, not rooms"},
	{path: "configs", why: "configs reads and explains the file; each room has its own Config and can live without YAML"},
	{path: "internal/town", may: []string{"sip/wire", "media"}, sipgo: true, why: "the town is the network under the rooms, with phones on sipgo's own stack as a second opinion"},
	{path: "internal/house", why: "the rules import nothing"},
	{path: "test", may: []string{anyRoom}, why: "acceptance looks at the program from outside and starts it through app"},
}

// sideways lists the arrows that only a test may draw, beside those of its room.
var sideways = []string{"internal/town"}

// onlyFor lists rooms that are imported by few. Each room imports itself.
var onlyFor = []struct {
	path string
	by   []string
	why  string
}{
	{"configs", []string{"app"}, "only app imports configs: each room has its own Config struct and can live without YAML"},
	{"app", []string{"cmd", "test", "internal/town"}, "app stands above the rooms; what a room needs from it is handed over through a small interface"},
}

// hands are the packages that a pure room must not import, and what they would give it.
var hands = map[string]string{
	"net":                   "sockets",
	"net/http":              "sockets",
	"os":                    "files",
	"os/exec":               "processes",
	"os/signal":             "signals",
	"io/fs":                 "files",
	"syscall":               "system calls",
	"golang.org/x/sys":      "system calls",
	"golang.org/x/net":      "sockets",
	"database/sql":          "a database",
	"log":                   "output",
	"log/slog":              "output",
	"github.com/rs/zerolog": "output",
}

// clock are the functions of package time that read the clock or wait for it.
var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true,
	"After": true, "AfterFunc": true, "Tick": true, "NewTimer": true, "NewTicker": true,
}
