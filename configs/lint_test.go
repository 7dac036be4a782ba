package configs

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// base is a file without problems; each test spoils one thing in it.
const base = `listen: [udp://0.0.0.0:5060]
media: { address: 203.0.113.10 }
trunks:
  bt: { from: [192.0.2.0/24] }
endpoints:
  north: { uri: "sip:10.0.0.10:5060", calls: 60 }
  south: { uri: "sip:10.0.1.10:5060", calls: 30 }
  warks: { uri: "sip:pbx.warks.example", calls: 8, partner: true }
routes:
  - name: "999"
    class: emergency
    numbers: ["999"]
    ask: [north, south, warks]
  - name: "101"
    class: routine
    numbers: ["101"]
    ask: [north, south]
`

// today is the day on which the tests take place.
var today = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// noFiles is a disk on which there is nothing.
func noFiles(string) ([]byte, error) { return nil, fs.ErrNotExist }

// problemsOf parses a file of the tests and gives its problems a line each, notices left out.
func problemsOf(text string) []string {
	_, problems := Parse("nines.yaml", []byte(text), At(today), Loading(noFiles))
	var lines []string
	for _, p := range problems {
		if p.Severity != Notice {
			lines = append(lines, p.String())
		}
	}
	return lines
}

// spoil replaces the first occurrence of each odd word by the even one after it.
func spoil(t *testing.T, text string, words ...string) string {
	t.Helper()
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Fatalf("the file of the test does not hold %q", words[i])
		}
		text = strings.Replace(text, words[i], words[i+1], 1)
	}
	return text
}

func TestAFileWithoutProblemsHasNone(t *testing.T) {
	if got := problemsOf(base); got != nil {
		t.Errorf("the file of the tests has problems: %q", got)
	}
}

func TestEveryProblemSaysWhereWhatAndWhatToDo(t *testing.T) {
	tests := []struct {
		name  string
		file  string   // empty: base
		spoil []string // what is replaced by what
		want  []string
	}{
		{
			name:  "a misspelt endpoint",
			spoil: []string{"ask: [north, south]", "ask: [north, soth]"},
			want: []string{
				`nines.yaml:17: routes[1].ask[1]: no endpoint is called "soth"; did you mean "south"?`,
			},
		},
		{
			name:  "an endpoint that is like no other",
			spoil: []string{"ask: [north, south]", "ask: [north, zzzzzz]"},
			want: []string{
				`nines.yaml:17: routes[1].ask[1]: no endpoint is called "zzzzzz"; the endpoints are north, south and warks`,
			},
		},
		{
			name:  "an endpoint inside a shared list",
			spoil: []string{"[north, south, warks]", "[north, [south, wraks]]"},
			want: []string{
				`nines.yaml:13: routes[0].ask[1][1]: no endpoint is called "wraks"; did you mean "warks"?`,
			},
		},
		{
			name:  "a misspelt trunk",
			spoil: []string{" class: routine", " class: routine\n    trunks: [tb]"},
			want: []string{
				`nines.yaml:16: routes[1].trunks[0]: no trunk is called "tb"; did you mean "bt"?`,
			},
		},
		{
			name:  "a misspelt key at the top",
			spoil: []string{"media:", "medium:"},
			want: []string{
				"nines.yaml:1: media.address: is missing: where callers and endpoints send media; write media: { address: 203.0.113.10 }",
				`nines.yaml:2: medium: there is no key "medium"; did you mean "media"?`,
			},
		},
		{
			name:  "a misspelt key deep inside",
			spoil: []string{"class: emergency", "class: emergency\n    patiense: 1s"},
			want: []string{
				`nines.yaml:12: routes[0].patiense: there is no key "patiense"; did you mean "patience"?`,
			},
		},
		{
			name:  "a key that is like no other",
			spoil: []string{"{ from: [192.0.2.0/24] }", "{ from: [192.0.2.0/24], xyzzyxyzzy: 1 }"},
			want: []string{
				`nines.yaml:4: trunks.bt.xyzzyxyzzy: there is no key "xyzzyxyzzy"; the keys here are from, give_up, kind, options, out, symmetric and via`,
			},
		},
		{
			name:  "a key that is written twice",
			spoil: []string{"calls: 60", "calls: 60, calls: 61"},
			want: []string{
				"nines.yaml:6: endpoints.north.calls: the key is written twice, first on line 6; keep one",
			},
		},
		{
			name:  "a trunk that is written twice",
			spoil: []string{"endpoints:", "  bt: { from: [198.51.100.0/24] }\nendpoints:"},
			want: []string{
				"nines.yaml:5: trunks.bt: the key is written twice, first on line 4; keep one",
			},
		},
		{
			name:  "a route name that is used twice",
			spoil: []string{`name: "101"`, `name: "999"`},
			want: []string{
				`nines.yaml:14: routes[1].name: routes[0] is called "999" already; give each route its own name`,
			},
		},
		{
			name:  "a name with a blank",
			spoil: []string{"  south: {", `  "south room": {`, "[north, south, warks]", `[north, "south room", warks]`, "ask: [north, south]", `ask: [north, "south room"]`},
			want: []string{
				`nines.yaml:7: endpoints.south room: "south room" is no name; use letters, digits, - and _, at most 64`,
			},
		},
		{
			name:  "a list where keys are expected",
			spoil: []string{"bt: { from: [192.0.2.0/24] }", "bt: [192.0.2.0/24]"},
			want: []string{
				"nines.yaml:4: trunks.bt: keys and values are expected here, not a list; write it as key: value",
			},
		},
		{
			name:  "keys where a list is expected",
			spoil: []string{`numbers: ["101"]`, "numbers: { a: b }"},
			want: []string{
				"nines.yaml:16: routes[1].numbers: a list is expected here; put it in brackets: [ … ]",
			},
		},
		{
			name:  "a list where one value is expected",
			spoil: []string{"calls: 60", "calls: [60]"},
			want: []string{
				"nines.yaml:6: endpoints.north.calls: one value is expected here, not a list",
			},
		},
		{
			name:  "a key without a value",
			spoil: []string{`numbers: ["101"]`, "numbers:"},
			want: []string{
				"nines.yaml:16: routes[1].numbers: has no value; give it one, or take the key out",
			},
		},
		{
			name:  "an empty text",
			spoil: []string{`numbers: ["101"]`, `numbers: [""]`},
			want: []string{
				"nines.yaml:16: routes[1].numbers[0]: is empty; give it a value, or take the key out",
			},
		},
		{
			name:  "an anchor and its alias",
			spoil: []string{"ask: [north, south, warks]", "ask: &all [north, south, warks]", "ask: [north, south]", "ask: *all"},
			want: []string{
				"nines.yaml:13: routes[0].ask: anchors (&) are not supported; write the value out where it is used",
				"nines.yaml:17: routes[1].ask: aliases (*) are not supported; write the value out",
			},
		},
		{
			name:  "a tag",
			spoil: []string{"calls: 60", "calls: !!int 60"},
			want: []string{
				"nines.yaml:6: endpoints.north.calls: tags (!) are not supported; take the tag out",
			},
		},
		{
			name:  "a merged key",
			spoil: []string{"calls: 60", "<<: { calls: 60 }"},
			want: []string{
				"nines.yaml:6: endpoints.north.?: a key must be a plain word; anchors and merges (<<) are not supported; write the keys out",
			},
		},
		{
			name:  "a word that is not among the possible",
			spoil: []string{"class: routine", "class: urgent"},
			want: []string{
				`nines.yaml:15: routes[1].class: "urgent" is not possible here; use emergency, routine or test`,
			},
		},
		{
			name:  "neither true nor false",
			spoil: []string{"partner: true", "partner: maybe"},
			want: []string{
				`nines.yaml:8: endpoints.warks.partner: "maybe" is neither true nor false; use true or false`,
			},
		},
		{
			name:  "a number that is none",
			spoil: []string{"calls: 60", "calls: many"},
			want: []string{
				`nines.yaml:6: endpoints.north.calls: "many" is not possible here; use a whole number from 1 to 1000000`,
			},
		},
		{
			name:  "a number out of bounds",
			spoil: []string{"calls: 60", "calls: 0"},
			want: []string{
				`nines.yaml:6: endpoints.north.calls: "0" is not possible here; use a whole number from 1 to 1000000`,
			},
		},
		{
			name: "nothing that is required",
			file: "name: x\n",
			want: []string{
				"nines.yaml:1: listen: is missing: where SIP comes in; write listen: [udp://0.0.0.0:5060]",
				"nines.yaml:1: media.address: is missing: where callers and endpoints send media; write media: { address: 203.0.113.10 }",
				"nines.yaml:1: trunks: is missing: who calls us; write trunks: { bt: { from: [192.0.2.0/24] } }",
				`nines.yaml:1: endpoints: is missing: who can answer; write endpoints: { control-room: { uri: "sip:10.0.0.10:5060" } }`,
				`nines.yaml:1: routes: is missing: which numbers ask which endpoints; write routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [control-room] }]`,
			},
		},
		{
			name: "empty sections",
			file: "listen: []\nmedia: { address: [] }\ntrunks: {}\nendpoints: {}\nroutes: []\n",
			want: []string{
				"nines.yaml:1: listen: is empty: where SIP comes in; write listen: [udp://0.0.0.0:5060]",
				"nines.yaml:2: media.address: is empty: where callers and endpoints send media; write media: { address: 203.0.113.10 }",
				"nines.yaml:3: trunks: is empty: who calls us; write trunks: { bt: { from: [192.0.2.0/24] } }",
				`nines.yaml:4: endpoints: is empty: who can answer; write endpoints: { control-room: { uri: "sip:10.0.0.10:5060" } }`,
				`nines.yaml:5: routes: is empty: which numbers ask which endpoints; write routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [control-room] }]`,
			},
		},
		{
			name:  "a trunk without addresses",
			spoil: []string{"{ from: [192.0.2.0/24] }", "{ kind: carrier }"},
			want: []string{
				"nines.yaml:4: trunks.bt: this trunk has no addresses; write from: [192.0.2.0/24]",
			},
		},
		{
			name:  "an endpoint without uri",
			spoil: []string{`uri: "sip:10.0.0.10:5060", `, ""},
			want: []string{
				`nines.yaml:6: endpoints.north: this endpoint has no uri; write uri: "sip:10.0.0.10:5060"`,
			},
		},
		{
			name:  "a route without name, numbers and ask",
			spoil: []string{"  - name: \"101\"\n    class: routine\n    numbers: [\"101\"]\n    ask: [north, south]\n", "  - class: routine\n"},
			want: []string{
				`nines.yaml:14: routes[1]: this route has no name; write name: "999"`,
				`nines.yaml:14: routes[1]: this route has no numbers, so no call finds it; write numbers: ["999", "112"]`,
				"nines.yaml:14: routes[1]: this route asks nobody; write ask: [control-room, standby-room]",
			},
		},
		{
			name:  "a route that asks nobody",
			spoil: []string{"ask: [north, south]", "ask: []"},
			want: []string{
				"nines.yaml:17: routes[1].ask: this route asks nobody; write ask: [control-room, standby-room]",
			},
		},
		{
			name:  "an empty list inside the list",
			spoil: []string{"ask: [north, south]", "ask: [north, []]"},
			want: []string{
				"nines.yaml:17: routes[1].ask[1]: this list is empty; name the endpoints that share here",
			},
		},
		{
			name:  "a duration without unit",
			spoil: []string{"class: emergency", "class: emergency\n    patience: 2"},
			want: []string{
				`nines.yaml:12: routes[0].patience: "2" has no unit; write 2s, 2ms or 2m`,
			},
		},
		{
			name:  "a duration that is none",
			spoil: []string{"class: emergency", "class: emergency\n    patience: soon"},
			want: []string{
				`nines.yaml:12: routes[0].patience: "soon" is no duration; use a time such as 800ms, 30s, 5m, 2h or 400d`,
			},
		},
		{
			name:  "a duration that is negative",
			spoil: []string{"class: emergency", "class: emergency\n    patience: -1s"},
			want: []string{
				`nines.yaml:12: routes[0].patience: "-1s" is negative; use a time such as 800ms, 30s, 5m, 2h or 400d`,
			},
		},
		{
			name:  "a patience of nothing",
			spoil: []string{"class: emergency", "class: emergency\n    patience: 0"},
			want: []string{
				"nines.yaml:12: routes[0].patience: must be longer than 0",
			},
		},
		{
			name:  "a patience without end",
			spoil: []string{"class: emergency", "class: emergency\n    patience: never"},
			want: []string{
				"nines.yaml:12: routes[0].patience: can't be never; use a time such as 1s or 30s",
			},
		},
		{
			name:  "patience that uses up give_up",
			spoil: []string{"{ from: [192.0.2.0/24] }", "{ from: [192.0.2.0/24], give_up: 3s }", "class: emergency", "class: emergency\n    patience: 3s\n    progress: 4s"},
			want: []string{
				"nines.yaml:12: routes[0].patience: patience 3 s uses up the 3 s after which a call from bt is given up: a silent room's next is never asked; make patience shorter",
				"nines.yaml:16: warning: routes[1]: progress 4 s uses up the 3 s after which a call from bt is given up: after a mere 100 the next is never asked; make progress shorter, or the trunk's give_up longer",
			},
		},
		{
			name:  "progress that uses up give_up",
			spoil: []string{"{ from: [192.0.2.0/24] }", "{ from: [192.0.2.0/24], give_up: 3s }", `numbers: ["101"]`, "numbers: [\"101\"]\n    progress: 2s"},
			want: []string{
				"nines.yaml:10: warning: routes[0]: progress 4 s uses up the 3 s after which a call from bt is given up: after a mere 100 the next is never asked; make progress shorter, or the trunk's give_up longer",
			},
		},
		{
			name:  "progress shorter than patience",
			spoil: []string{"class: emergency", "class: emergency\n    patience: 3s\n    progress: 2s"},
			want: []string{
				"nines.yaml:13: warning: routes[0].progress: progress 2 s is shorter than patience 3 s: a room that says 100 is left earlier than a silent one; make progress the longer one",
			},
		},
		{
			name:  "a probe longer than its interval",
			spoil: []string{"routes:", "health: { every: 1s, timeout: 1s }\nroutes:"},
			want: []string{
				"nines.yaml:9: health.timeout: a probe that waits 1 s is not over when the next is due after 1 s (every); make timeout the shorter one",
			},
		},
		{
			name:  "a probe longer than the partners' interval",
			spoil: []string{"routes:", "health: { partners_every: 500ms }\nroutes:"},
			want: []string{
				"nines.yaml:9: health.partners_every: a probe that waits 800 ms is not over when the next is due after 500 ms (partners_every); make timeout the shorter one",
			},
		},
		{
			name:  "an address that is none",
			spoil: []string{"203.0.113.10", "203.0.113.999"},
			want: []string{
				`nines.yaml:2: media.address: "203.0.113.999" is no IP address; use an address such as 203.0.113.10 or 2001:db8::10`,
			},
		},
		{
			name:  "a media address that is nobody's",
			spoil: []string{"203.0.113.10", "0.0.0.0"},
			want: []string{
				"nines.yaml:2: media.address: 0.0.0.0 is nobody's address; use the address that the others send to",
			},
		},
		{
			name:  "an IPv6 media address that is nobody's",
			spoil: []string{"203.0.113.10", `["203.0.113.10", "::"]`},
			want: []string{
				"nines.yaml:2: media.address[1]: :: is nobody's address; use the address that the others send to",
			},
		},
		{
			name:  "a multicast media address",
			spoil: []string{"203.0.113.10", "224.0.0.1"},
			want: []string{
				"nines.yaml:2: media.address: 224.0.0.1 is a multicast address; use an address of one machine",
			},
		},
		{
			name:  "a media address twice",
			spoil: []string{"203.0.113.10", "[203.0.113.10, 203.0.113.10]"},
			want: []string{
				"nines.yaml:2: media.address[1]: 203.0.113.10 is listed twice; keep one",
			},
		},
		{
			name:  "a network that is none",
			spoil: []string{"192.0.2.0/24", "192.0.2.0/33"},
			want: []string{
				`nines.yaml:4: trunks.bt.from[0]: "192.0.2.0/33" is no network; use one such as 192.0.2.0/24 or 2001:db8::/48, or a single address`,
			},
		},
		{
			name:  "a name instead of a network",
			spoil: []string{"192.0.2.0/24", "sbc.bt.example"},
			want: []string{
				`nines.yaml:4: trunks.bt.from[0]: "sbc.bt.example" is no IP address; use an address such as 203.0.113.10 or 2001:db8::10`,
			},
		},
		{
			name:  "an address inside a network",
			spoil: []string{"192.0.2.0/24", "192.0.2.7/24"},
			want: []string{
				"nines.yaml:4: trunks.bt.from[0]: 192.0.2.7/24 is an address inside a network; write 192.0.2.0/24 for the network, or 192.0.2.7 for the one machine",
			},
		},
		{
			name:  "a trunk that is the whole internet",
			spoil: []string{"192.0.2.0/24", "0.0.0.0/0"},
			want: []string{
				"nines.yaml:4: warning: trunks.bt.from[0]: 0.0.0.0/0 is the whole internet: anybody can call; name the networks that calls come from",
			},
		},
		{
			name:  "trunks that overlap",
			spoil: []string{"endpoints:", "  o2: { from: [192.0.2.7] }\nendpoints:"},
			want: []string{
				"nines.yaml:5: trunks.o2.from[0]: 192.0.2.7 overlaps 192.0.2.0/24 of trunk bt: a call could be on either; give each address to one trunk",
			},
		},
		{
			name:  "a trunk in IPv4-mapped form overlaps all the same",
			spoil: []string{"endpoints:", "  o2: { from: [\"::ffff:192.0.2.128/121\"] }\nendpoints:"},
			want: []string{
				"nines.yaml:5: trunks.o2.from[0]: 192.0.2.128/25 overlaps 192.0.2.0/24 of trunk bt: a call could be on either; give each address to one trunk",
			},
		},
		{
			name:  "a listener without scheme",
			spoil: []string{"udp://0.0.0.0:5060", "0.0.0.0:5060"},
			want: []string{
				`nines.yaml:1: listen[0]: "0.0.0.0:5060" is no listener; use udp://address:port, tcp://… or tls://…`,
			},
		},
		{
			name:  "a listener with an unknown scheme",
			spoil: []string{"udp://0.0.0.0:5060", "sctp://0.0.0.0:5060"},
			want: []string{
				`nines.yaml:1: listen[0]: no transport is called "sctp"; use udp, tcp or tls`,
			},
		},
		{
			name:  "a listener with a name",
			spoil: []string{"udp://0.0.0.0:5060", "udp://localhost:5060"},
			want: []string{
				`nines.yaml:1: listen[0]: "udp://localhost:5060" is no listener; use udp://address:port, tcp://… or tls://…; the address is an IP address, [in brackets] if it is IPv6`,
			},
		},
		{
			name:  "a listener on port 0",
			spoil: []string{"udp://0.0.0.0:5060", "udp://0.0.0.0:0"},
			want: []string{
				"nines.yaml:1: warning: listen[0]: port 0 is any free port, a new one at each start; use the port that your carrier sends to",
			},
		},
		{
			name:  "a listener twice",
			spoil: []string{"[udp://0.0.0.0:5060]", "[udp://0.0.0.0:5060, tcp://0.0.0.0:5060, udp://0.0.0.0:5060]"},
			want: []string{
				"nines.yaml:1: listen[2]: udp://0.0.0.0:5060 can't be opened beside udp://0.0.0.0:5060; keep one",
			},
		},
		{
			name:  "a listener under a wildcard",
			spoil: []string{"[udp://0.0.0.0:5060]", "[udp://0.0.0.0:5060, udp://203.0.113.10:5060]"},
			want: []string{
				"nines.yaml:1: listen[1]: udp://203.0.113.10:5060 can't be opened beside udp://0.0.0.0:5060; keep one",
			},
		},
		{
			name:  "a listener among the media ports",
			spoil: []string{"udp://0.0.0.0:5060", "udp://0.0.0.0:25060"},
			want: []string{
				"nines.yaml:1: listen[0]: UDP port 25060 lies among the media ports 20000-29999; move one of them",
			},
		},
		{
			name:  "an advertised host with a port",
			spoil: []string{"media:", "advertise: 203.0.113.10:5060\nmedia:"},
			want: []string{
				`nines.yaml:2: advertise: "203.0.113.10:5060" is no host name or IP address; use a name or an address, without a port`,
			},
		},
		{
			name:  "an advertised wildcard",
			spoil: []string{"media:", "advertise: 0.0.0.0\nmedia:"},
			want: []string{
				"nines.yaml:2: advertise: 0.0.0.0 is nobody's address; use the address that the others send to",
			},
		},
		{
			name:  "ports that are no range",
			spoil: []string{"203.0.113.10 }", "203.0.113.10, ports: 20000 }"},
			want: []string{
				`nines.yaml:2: media.ports: "20000" is no range of ports; write it as 20000-29999`,
			},
		},
		{
			name:  "ports of the system",
			spoil: []string{"203.0.113.10 }", "203.0.113.10, ports: 80-29999 }"},
			want: []string{
				"nines.yaml:2: media.ports: port 80 belongs to the system; start at 1024 or higher",
			},
		},
		{
			name:  "ports that end before they start",
			spoil: []string{"203.0.113.10 }", "203.0.113.10, ports: 29999-20000 }"},
			want: []string{
				`nines.yaml:2: media.ports: "29999-20000" ends before it starts; write the lower port first, as in 20000-29999`,
			},
		},
		{
			name:  "ports that don't fit the promised calls",
			spoil: []string{"203.0.113.10 }", "203.0.113.10, ports: 20000-20099 }"},
			want: []string{
				"nines.yaml:2: media.ports: ports 20000-20099 are 50 pairs, and the endpoints promise 98 calls, which need 196 pairs when they talk (one on the caller's side and one at the endpoint); write ports: 20000-20783, or lower the endpoints' calls",
			},
		},
		{
			name:  "ports that fit talking calls only",
			spoil: []string{"203.0.113.10 }", "203.0.113.10, ports: 20000-20499 }"},
			want: []string{
				"nines.yaml:2: warning: media.ports: ports 20000-20499 are 250 pairs, and the endpoints promise 98 calls, which need 392 pairs when each asks 3 endpoints at once (one on the caller's side and one for each attempt); write ports: 20000-20783, or lower the endpoints' calls",
			},
		},
		{
			name:  "ports that can never fit",
			spoil: []string{"calls: 60", "calls: 100000"},
			want: []string{
				"nines.yaml:2: media: ports 20000-29999 are 5000 pairs, and the endpoints promise 100038 calls, which need 200076 pairs when they talk (one on the caller's side and one at the endpoint); lower the endpoints' calls",
			},
		},
		{
			name:  "a console without port",
			spoil: []string{"routes:", "console: { listen: 127.0.0.1 }\nroutes:"},
			want: []string{
				`nines.yaml:9: console.listen: "127.0.0.1" is no address with a port; use one such as 127.0.0.1:8080 or [::1]:8080`,
			},
		},
		{
			name:  "a uri that is no SIP",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"http://10.0.0.10"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "http://10.0.0.10" is no sip or sips URI; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a bad port",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:10.0.0.10:99999"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:10.0.0.10:99999" has no valid port: "99999"; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a bad host",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:10.0.0.256"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:10.0.0.256" has no valid host: "10.0.0.256"; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a bare IPv6 address",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:2001:db8::1"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:2001:db8::1" has no valid host: "2001:db8::1" (IPv6 goes in brackets); use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a wildcard",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:0.0.0.0"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:0.0.0.0" leads to no machine: 0.0.0.0; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a transport we don't speak",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:10.0.0.10;transport=ws"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:10.0.0.10;transport=ws" has a transport we don't speak: "ws"; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with a password",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:me:secret@10.0.0.10"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:me:secret@10.0.0.10" has a password in it; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri with headers",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"sip:10.0.0.10?Subject=x"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "sip:10.0.0.10?Subject=x" has headers (?) in it; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "a uri in angle brackets",
			spoil: []string{`"sip:10.0.0.10:5060"`, `"<sip:10.0.0.10>"`},
			want: []string{
				`nines.yaml:6: endpoints.north.uri: "<sip:10.0.0.10>" is no sip or sips URI; use one such as sip:10.0.0.10:5060;transport=tcp`,
			},
		},
		{
			name:  "require_tls without TLS",
			spoil: []string{"calls: 60", "calls: 60, require_tls: true"},
			want: []string{
				"nines.yaml:6: endpoints.north.require_tls: sip:10.0.0.10:5060 does not say TLS; add ;transport=tls to the uri",
			},
		},
		{
			name:  "more kept free than there is",
			spoil: []string{"calls: 60", "calls: 60, reserve: 61"},
			want: []string{
				"nines.yaml:6: endpoints.north.reserve: 61 of 60 calls can't be kept free; use 60 or less",
			},
		},
		{
			name:  "kept free of nothing",
			spoil: []string{"calls: 60", "reserve: 5"},
			want: []string{
				"nines.yaml:6: endpoints.north.reserve: nothing can be kept free of an unknown number of calls; write calls: as well",
			},
		},
		{
			name:  "an out list on a carrier",
			spoil: []string{"{ from: [192.0.2.0/24] }", "{ from: [192.0.2.0/24], out: [north] }"},
			want: []string{
				"nines.yaml:4: trunks.bt.out: only a trunk of kind pbx calls out; write kind: pbx, or take out: away",
			},
		},
		{
			name:  "a PBX that can't call out",
			spoil: []string{"endpoints:", "  phones: { kind: pbx, from: [10.0.0.10] }\nendpoints:"},
			want: []string{
				"nines.yaml:5: warning: trunks.phones: this PBX has no out list: its calls to numbers on no route get 404; write out: [an endpoint], if it shall call out",
			},
		},
		{
			name:  "a PBX that calls out by nobody",
			spoil: []string{"endpoints:", "  phones: { kind: pbx, from: [10.0.0.10], out: [gatway] }\nendpoints:"},
			want: []string{
				`nines.yaml:5: trunks.phones.out[0]: no endpoint is called "gatway"; the endpoints are north, south and warks`,
			},
		},
		{
			name:  "mutual aid with its own give_up",
			spoil: []string{"endpoints:", "  aid: { kind: aid, from: [198.51.100.7], give_up: 10s }\nendpoints:"},
			want: []string{
				"nines.yaml:5: warning: trunks.aid.give_up: a call that came as mutual aid is given up after 5 s, whatever is written here; take give_up out",
			},
		},
		{
			name:  "a side without sides",
			spoil: []string{"calls: 60", "calls: 60, via: inside"},
			want: []string{
				`nines.yaml:6: endpoints.north.via: no side is called "inside": listen has one side; take via: out, or name the sides under listen`,
			},
		},
		{
			name:  "a misspelt side",
			spoil: []string{"calls: 60", "calls: 60, via: insde", "[udp://0.0.0.0:5060]", "{ outside: { on: [udp://203.0.113.10:5060] }, inside: { on: [udp://10.0.0.2:5060] } }"},
			want: []string{
				`nines.yaml:6: endpoints.north.via: no side is called "insde"; did you mean "inside"?`,
			},
		},
		{
			name:  "a side that listens nowhere",
			spoil: []string{"[udp://0.0.0.0:5060]", "{ outside: { on: [udp://203.0.113.10:5060] }, inside: { media: 10.0.0.2 } }"},
			want: []string{
				"nines.yaml:1: listen.inside: this side listens nowhere; write on: [udp://address:port]",
			},
		},
		{
			name:  "sides that want the same port",
			spoil: []string{"[udp://0.0.0.0:5060]", "{ outside: { on: [udp://203.0.113.10:5060] }, inside: { on: udp://203.0.113.10:5060 } }"},
			want: []string{
				"nines.yaml:1: listen.inside.on[0]: udp://203.0.113.10:5060 can't be opened beside udp://203.0.113.10:5060; keep one",
			},
		},
		{
			name:  "an endpoint that nobody asks",
			spoil: []string{"routes:", "  spare: { uri: \"sip:10.0.9.9\", calls: 5 }\nroutes:"},
			want: []string{
				"nines.yaml:9: warning: endpoints.spare: nobody ever asks this endpoint; name it in a route's ask, or take it out",
			},
		},
		{
			name:  "a trunk on no route",
			spoil: []string{"endpoints:", "  o2: { from: [198.51.100.7] }\nendpoints:", "class: emergency", "class: emergency\n    trunks: [bt]", "class: routine", "class: routine\n    trunks: [bt]"},
			want: []string{
				"nines.yaml:5: warning: trunks.o2: no route names this trunk: all its calls are treated as emergencies; name it in a route's trunks",
			},
		},
		{
			name:  "no emergency route",
			spoil: []string{"class: emergency", "class: routine"},
			want: []string{
				"nines.yaml:9: routes: there is no emergency route; write class: emergency on the route that answers 999; numbers on no route go there too",
			},
		},
		{
			name:  "an emergency route for mutual aid only",
			spoil: []string{"class: emergency", "class: emergency\n    aid: true", "[north, south, warks]", "[north, south]", "ask: [north, south]\n  - name: \"101\"", "ask: [north, south]\n  - name: \"101\"", "  warks: { uri: \"sip:pbx.warks.example\", calls: 8, partner: true }\n", ""},
			want: []string{
				"nines.yaml:8: routes: there is no emergency route; write class: emergency on the route that answers 999; numbers on no route go there too",
			},
		},
		{
			name:  "a number of two classes",
			spoil: []string{`numbers: ["101"]`, `numbers: ["101", "999"]`},
			want: []string{
				`nines.yaml:16: routes[1].numbers[1]: 999 is routine here and emergency on route "999"; keep one, or give the routes different trunks`,
			},
		},
		{
			name:  "a number that is written differently but the same",
			spoil: []string{`numbers: ["999"]`, `numbers: ["+44 1905 331-999"]`, `numbers: ["101"]`, `numbers: ["+441905331999"]`},
			want: []string{
				`nines.yaml:16: routes[1].numbers[0]: +441905331999 is routine here and emergency on route "999"; keep one, or give the routes different trunks`,
			},
		},
		{
			name:  "a number on two routes of one class",
			spoil: []string{`numbers: ["101"]`, `numbers: ["999"]`, "class: routine", "class: emergency"},
			want: []string{
				`nines.yaml:16: warning: routes[1].numbers[0]: 999 is on route "999" already, which comes first; keep one, or give the routes different trunks`,
			},
		},
		{
			name:  "a number on two routes of different trunks",
			spoil: []string{"endpoints:", "  o2: { from: [198.51.100.7] }\nendpoints:", "class: emergency", "class: emergency\n    trunks: [bt]", "class: routine", "class: routine\n    trunks: [o2]", `numbers: ["101"]`, `numbers: ["999"]`},
		},
		{
			name:  "a number twice on one route",
			spoil: []string{`numbers: ["101"]`, `numbers: ["101", "101"]`},
			want: []string{
				"nines.yaml:16: warning: routes[1].numbers[1]: 101 is listed twice; keep one",
			},
		},
		{
			name:  "a star in the middle",
			spoil: []string{`numbers: ["101"]`, `numbers: ["1*1"]`},
			want: []string{
				`nines.yaml:16: routes[1].numbers[0]: "1*1" has a * in the middle; a number is exact, or ends in *`,
			},
		},
		{
			name:  "a number that is a URI",
			spoil: []string{`numbers: ["101"]`, `numbers: ["tel:101"]`},
			want: []string{
				`nines.yaml:16: routes[1].numbers[0]: "tel:101" is a URI; write the number alone: "101"`,
			},
		},
		{
			name:  "a number that is none of ours",
			spoil: []string{`numbers: ["101"]`, `numbers: ["1 0 1 x!"]`},
			want: []string{
				`nines.yaml:16: routes[1].numbers[0]: "1 0 1 x!" is no number; a number is exact, or ends in *; or urn:service:…`,
			},
		},
		{
			name:  "a URN that is no service",
			spoil: []string{`numbers: ["999"]`, `numbers: ["urn:isbn:0"]`},
			want: []string{
				`nines.yaml:12: routes[0].numbers[0]: "urn:isbn:0" is no service URN; use one such as urn:service:sos, or urn:service:sos* for all below it`,
			},
		},
		{
			name:  "a routine route that takes every number",
			spoil: []string{`numbers: ["101"]`, `numbers: ["*"]`},
			want: []string{
				"nines.yaml:16: warning: routes[1].numbers[0]: * takes every number, also those that would be treated as emergencies because they are on no route; name the numbers",
			},
		},
		{
			name:  "an endpoint that is asked twice",
			spoil: []string{"[north, south, warks]", "[north, south, warks, north]"},
			want: []string{
				"nines.yaml:13: routes[0].ask[3]: north is asked twice; keep one",
			},
		},
		{
			name:  "an emergency route with one endpoint",
			spoil: []string{"[north, south, warks]", "[warks]"},
			want: []string{
				"nines.yaml:13: warning: routes[0].ask: only warks is asked: when it fails nobody answers; name a second endpoint",
			},
		},
		{
			name:  "a shared list without calls",
			spoil: []string{"[north, south, warks]", "[[north, south], warks]", "calls: 30", "answers: person"},
			want: []string{
				"nines.yaml:13: warning: routes[0].ask[0][1]: free slots are to be shared, and south does not say how many calls it can take; write calls: for it",
			},
		},
		{
			name:  "a partner on a route for mutual aid",
			spoil: []string{"routes:", "routes:\n  - { name: aid, aid: true, numbers: [\"1998\"], ask: [north, warks] }"},
			want: []string{
				"nines.yaml:10: warning: routes[0].ask[1]: warks is a partner, and a call that came as mutual aid is not sent to a partner again; take it out",
			},
		},
		{
			name:  "only partners on a route for mutual aid",
			spoil: []string{"endpoints:", "  aid: { kind: aid, from: [198.51.100.7] }\nendpoints:", "routes:", "routes:\n  - { name: aid, trunks: [aid], numbers: [\"1998\"], ask: [warks] }"},
			want: []string{
				"nines.yaml:11: routes[0].ask: this route asks nobody: its calls come as mutual aid, and it names partners only; name own rooms",
				"nines.yaml:11: warning: routes[0].ask[0]: warks is a partner, and a call that came as mutual aid is not sent to a partner again; take it out",
			},
		},
		{
			name:  "otherwise on an emergency route",
			spoil: []string{"class: emergency", "class: emergency\n    otherwise: [{ reject: 480 }]"},
			want: []string{
				"nines.yaml:12: routes[0].otherwise: an emergency call is never announced to, queued, diverted or rejected; take otherwise: out; ask: names who answers",
			},
		},
		{
			name:  "shed on an emergency route",
			spoil: []string{"class: emergency", "class: emergency\n    shed: { when: { emergency_waiting: 5 } }"},
			want: []string{
				"nines.yaml:12: routes[0].shed: an emergency call is never shed; take shed: out",
			},
		},
		{
			name:  "a step of two kinds",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ wait: 10s, reject: 480 }]"},
			want: []string{
				"nines.yaml:16: routes[1].otherwise[0]: each step is one of wait, announce, divert and reject; write one list item for each; only wait may have an announce beside it",
			},
		},
		{
			name:  "a step of no kind",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ cap: 5 }]"},
			want: []string{
				"nines.yaml:16: routes[1].otherwise[0]: each step is one of wait, announce, divert and reject; write one list item for each; only wait may have an announce beside it",
			},
		},
		{
			name:  "a misspelt announcement",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: report-onlin }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].announce: no announcement is called "report-onlin"; did you mean "report-online"?`,
			},
		},
		{
			name:  "a divert to nobody",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ divert: [nort], cap: 2 }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].divert[0]: no endpoint is called "nort"; did you mean "north"?`,
			},
		},
		{
			name:  "a cap without divert",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ reject: 480, cap: 2 }]"},
			want: []string{
				"nines.yaml:16: routes[1].otherwise[0].cap: only divert and wait have a cap; take it out",
			},
		},
		{
			name:  "a reject with 503",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ reject: 503 }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].reject: "503" is not possible here; use 480, 486 or 600`,
			},
		},
		{
			name:  "a step after a reject",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ reject: 480 }, { wait: 10s }]"},
			want: []string{
				"nines.yaml:16: routes[1].otherwise[1]: nothing follows a reject; put reject: last, or take this out",
			},
		},
		{
			name:  "an escape from a wait",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ wait: 10s, escape: { digit: 9, to: \"999\" } }]"},
			want: []string{
				"nines.yaml:16: routes[1].otherwise[0].escape: only announce has an escape; put it beside announce:",
			},
		},
		{
			name:  "an escape by no key",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand, escape: { digit: 99, to: \"999\" } }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].escape.digit: "99" is no key of a telephone; use one of 0 to 9, * and #`,
			},
		},
		{
			name:  "an escape without key",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand, escape: { to: \"999\" } }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].escape: an escape needs a key to press; write digit: "9"`,
			},
		},
		{
			name:  "an escape to nowhere",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand, escape: { digit: 9 } }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].escape: an escape needs a route to go to; write to: "999"`,
			},
		},
		{
			name:  "an escape to a routine route",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand, escape: { digit: 9, to: \"101\" } }]"},
			want: []string{
				`nines.yaml:16: routes[1].otherwise[0].escape.to: no emergency route is called "101"; the emergency routes are 999`,
			},
		},
		{
			name:  "an escape from early media",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand, escape: { digit: 9, to: \"999\" } }]", "routes:", "announcements: { high-demand: { answer: early } }\nroutes:"},
			want: []string{
				"nines.yaml:17: routes[1].otherwise[0].escape: high-demand is played as early media, and many carriers pass no key presses then; write answer: final for the announcement, or take escape out",
			},
		},
		{
			name:  "shedding with an unknown text, or one that nobody hears",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ wait: 10s, announce: high-demand }]\n    shed: { announce: hihg-demand }"},
			want: []string{
				`nines.yaml:17: routes[1].shed.announce: no announcement is called "hihg-demand"; did you mean "high-demand"?`,
			},
		},
		{
			name:  "shedding that only a caller in the line would hear of",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ wait: 10s, announce: high-demand }]\n    shed: { when: { emergency_waiting: 5 } }"},
			want: []string{
				"nines.yaml:17: routes[1].shed: there is nothing to tell the callers that are shed; write otherwise: [{ announce: high-demand }]",
			},
		},
		{
			name:  "a relay that is no announcement",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: report-online }]\n    relay: persn"},
			want: []string{
				`nines.yaml:17: routes[1].relay: no announcement is called "persn"; did you mean "person"?`,
			},
		},
		{
			name:  "a longer text that is never heard",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ reject: 480 }]\n    relay: report-online"},
			want: []string{
				"nines.yaml:17: warning: routes[1].relay: otherwise announces nothing, so that the longer text is never heard; write otherwise: [{ announce: report-online }], or take relay out",
			},
		},
		{
			name:  "shedding that never settles",
			spoil: []string{"class: routine", "class: routine\n    otherwise: [{ announce: high-demand }]\n    shed: { when: { emergency_waiting: 1 } }"},
			want: []string{
				"nines.yaml:17: routes[1].shed: until 1 emergency calls wait is not below when 1 do: it would never settle; make until lower than when",
			},
		},
		{
			name:  "shedding without a word",
			spoil: []string{"class: routine", "class: routine\n    shed: { when: { emergency_waiting: 5 } }"},
			want: []string{
				"nines.yaml:16: routes[1].shed: there is nothing to tell the callers that are shed; write otherwise: [{ announce: high-demand }]",
			},
		},
		{
			name:  "an announcement without files",
			spoil: []string{"routes:", "announcements: { ours: { answer: final } }\nroutes:"},
			want: []string{
				"nines.yaml:9: announcements.ours: this announcement has no files; write files: [text.wav]; built in are report-online, report-online-down, high-demand, high-demand-down, hold-the-line and relay",
			},
		},
		{
			name:  "a date that is none",
			spoil: []string{"routes:", "announcements: { high-demand: { expires: tomorrow } }\nroutes:"},
			want: []string{
				`nines.yaml:9: announcements.high-demand.expires: "tomorrow" is no date; write it as 2027-06-30`,
			},
		},
		{
			name:  "an announcement out of date",
			spoil: []string{"routes:", "announcements: { high-demand: { expires: 2026-11-23 } }\nroutes:"},
			want: []string{
				"nines.yaml:9: warning: announcements.high-demand.expires: the text is out of date since 2026-11-23; renew it; the built-in text is played instead",
			},
		},
		{
			name:  "missing WAV files",
			spoil: []string{"routes:", "announcements: { high-demand: { files: [a.wav] }, ours: { files: b.wav } }\nroutes:"},
			want: []string{
				"nines.yaml:9: warning: announcements.high-demand.files[0]: the built-in text is played instead: file does not exist; put the file there",
				"nines.yaml:9: warning: announcements.ours.files: report-online is played instead: file does not exist; put the file there",
			},
		},
		{
			name:  "a missing certificate",
			spoil: []string{"media:", "tls: { certificate: tls.pem, key: tls.key }\nmedia:"},
			want: []string{
				"nines.yaml:2: warning: tls.certificate: nobody can connect by TLS: file does not exist; put the file there",
			},
		},
		{
			name:  "missing client certificates",
			spoil: []string{"media:", "tls: { client_ca: partners.pem }\nmedia:"},
			want: []string{
				"nines.yaml:2: warning: tls.client_ca: partners' certificates are not checked: file does not exist; put the file there",
			},
		},
		{
			name:  "a certificate without key",
			spoil: []string{"media:", "tls: { certificate: tls.pem }\nmedia:"},
			want: []string{
				"nines.yaml:2: tls: certificate and key go together; write both",
			},
		},
		{
			name:  "a TLS listener without certificate",
			spoil: []string{"[udp://0.0.0.0:5060]", "[udp://0.0.0.0:5060, tls://0.0.0.0]"},
			want: []string{
				"nines.yaml:1: warning: listen[1]: nobody can connect by TLS: there is no certificate; write tls: { certificate: tls.pem, key: tls.key }",
			},
		},
		{
			name:  "a missing token file",
			spoil: []string{"routes:", "console: { tokens_file: tokens }\nroutes:"},
			want: []string{
				"nines.yaml:9: warning: console.tokens_file: nobody can act in the console: file does not exist; put the file there",
			},
		},
		{
			name:  "a webhook with a sender and a mail with a secret",
			spoil: []string{"routes:", "notify: [{ webhook: \"https://a.example\", from: a@b.example, auth_file: a }, { mail: a@b.example, smtp: \"smtp://b.example\", secret_file: s }]\nroutes:"},
			want: []string{
				"nines.yaml:9: notify[0].from: only a mail has a sender; take it out",
				"nines.yaml:9: notify[0].auth_file: only a mail server asks who we are; take it out",
				"nines.yaml:9: warning: notify[0].auth_file: no notice leaves here, because nobody can log in: file does not exist; put the file there",
				"nines.yaml:9: notify[1].secret_file: only a webhook is signed; take it out",
				"nines.yaml:9: warning: notify[1].secret_file: no notice leaves here, because it cannot be signed: file does not exist; put the file there",
			},
		},
		{
			name:  "notices for a room that does not exist, in the clear",
			spoil: []string{"routes:", "notify: [{ webhook: \"http://a.example\", rooms: nort }, { webhook: \"http://127.0.0.1/\", headers: { \"a b\": c } }]\nroutes:"},
			want: []string{
				"nines.yaml:9: warning: notify[0].webhook: what is said there can be read and changed on the way; use https",
				"nines.yaml:9: notify[0].rooms: no endpoint is called \"nort\"; did you mean \"north\"?",
				"nines.yaml:9: notify[1].headers.a b: \"a b\" is no header; use one such as Authorization",
			},
		},
		{
			name:  "a number for the public that nobody has tested",
			spoil: []string{"routes:", "public: { name: \"West Mercia Police\", alternative: \"01905 331101\" }\nroutes:"},
			want: []string{
				"nines.yaml:9: public.alternative: 01905331101 is on no route: nobody has tested that it reaches us; put it on a route, or take it out",
			},
		},
		{
			name:  "a second place for the book that is two",
			spoil: []string{"routes:", "journal: { also: [{ file: a.jsonl, i3: \"https://b.example\" }] }\nroutes:"},
			want: []string{
				"nines.yaml:9: journal.also[0]: each place has one of file and i3; write one list item for each",
			},
		},
		{
			name:  "a size without a unit",
			spoil: []string{"routes:", "journal: { keep_size: 20 }\nroutes:"},
			want: []string{
				"nines.yaml:9: journal.keep_size: \"20\" is no size for the book; write a number with its unit: 100MB at least, 20GB, 1TB",
			},
		},
		{
			name:  "a size that holds no day",
			spoil: []string{"routes:", "journal: { keep_size: 1MB }\nroutes:"},
			want: []string{
				"nines.yaml:9: journal.keep_size: \"1MB\" is no size for the book; write a number with its unit: 100MB at least, 20GB, 1TB",
			},
		},
		{
			name:  "a notice of two kinds",
			spoil: []string{"routes:", "notify: [{ webhook: \"https://a.example\", heartbeat: \"https://b.example\" }]\nroutes:"},
			want: []string{
				"nines.yaml:9: notify[0]: each notice has one of webhook, mail and heartbeat; write one list item for each",
			},
		},
		{
			name:  "copies of messages without a place to go",
			spoil: []string{"routes:", "hep: { id: 7 }\nroutes:"},
			want: []string{
				"nines.yaml:9: hep: copies of messages go nowhere; write to: udp://host:9060, or take hep out",
			},
		},
		{
			name:  "messages of nobody in particular",
			spoil: []string{"routes:", "journal: { messages: some }\nroutes:"},
			want: []string{
				`nines.yaml:9: journal.messages: "some" is not possible here; use none, emergency or all`,
			},
		},
		{
			name:  "a mail without server",
			spoil: []string{"routes:", "notify: [{ mail: ops@force.example }]\nroutes:"},
			want: []string{
				"nines.yaml:9: notify[0]: mail needs a server; write smtp: smtp://mail.example:25 beside it",
			},
		},
		{
			name:  "a server without mail",
			spoil: []string{"routes:", "notify: [{ webhook: \"https://a.example\", smtp: \"smtp://b.example\" }]\nroutes:"},
			want: []string{
				"nines.yaml:9: notify[0].smtp: only mail has a server; take it out",
			},
		},
		{
			name:  "an interval without heartbeat",
			spoil: []string{"routes:", "notify: [{ webhook: \"https://a.example\", every: 60s }]\nroutes:"},
			want: []string{
				"nines.yaml:9: notify[0].every: only a heartbeat has an interval; take it out; how often a notice is repeated is repeat",
			},
		},
		{
			name:  "a webhook that is no web address",
			spoil: []string{"routes:", "notify: [{ webhook: \"ftp://a.example\" }]\nroutes:"},
			want: []string{
				`nines.yaml:9: notify[0].webhook: "ftp://a.example" is no address to send to; use https://host/path`,
			},
		},
		{
			name: "addresses with secrets in them, and mistakes",
			spoil: []string{"routes:", `notify:
  - { webhook: "ftp://ops:secret@a.example/secret" }
  - { webhook: "https://ops:secret@a.example:port/secret" }
  - { webhook: "https://a.example:70000/secret" }
  - { webhook: "https://a.example/", headers: { Authorization: "secret\nX: y" } }
  - { mail: ops@a.example, smtp: "smtp://ops:secret@b.example:0" }
routes:`},
			want: []string{
				`nines.yaml:10: notify[0].webhook: "ftp://a.example/…" is no address to send to; use https://host/path`,
				`nines.yaml:11: notify[1].webhook: this is no address to send to; use https://host/path`,
				`nines.yaml:12: notify[2].webhook: "https://a.example:70000/…" is no address to send to; use https://host/path`,
				`nines.yaml:13: notify[3].headers.Authorization: a header has no line breaks and no tabs; write its value on one line`,
				`nines.yaml:14: notify[4].smtp: "smtp://b.example:0/…" is no address to send to; use smtp://host:25 or smtps://host:465`,
			},
		},
		{
			name:  "a mail address that is none",
			spoil: []string{"routes:", "notify: [{ mail: ops, smtp: \"smtp://b.example\" }]\nroutes:"},
			want: []string{
				`nines.yaml:9: notify[0].mail: "ops" is no mail address; use one such as ops@force.example`,
			},
		},
		{
			name:  "many at once",
			spoil: []string{"udp://0.0.0.0:5060", "udp:/0.0.0.0", "203.0.113.10", "0.0.0.0", "calls: 60", "calls: sixty", "[north, south, warks]", "[nrth]", "ask: [north, south]", "ask: []"},
			want: []string{
				`nines.yaml:1: listen[0]: "udp:/0.0.0.0" is no listener; use udp://address:port, tcp://… or tls://…`,
				"nines.yaml:2: media.address: 0.0.0.0 is nobody's address; use the address that the others send to",
				`nines.yaml:6: endpoints.north.calls: "sixty" is not possible here; use a whole number from 1 to 1000000`,
				`nines.yaml:13: routes[0].ask[0]: no endpoint is called "nrth"; did you mean "north"?`,
				"nines.yaml:17: routes[1].ask: this route asks nobody; write ask: [control-room, standby-room]",
			},
		},
		{
			name: "a file that is no YAML",
			file: "listen: [udp://0.0.0.0:5060\nmedia: {}\n",
			want: []string{
				"nines.yaml:2: this is no YAML: ',' or ']' must be specified; mend it, and the rest can be checked; a text with brackets or colons belongs in quotes",
			},
		},
		{
			name: "a file with a tab",
			file: "listen:\n\t- x\n",
			want: []string{
				"nines.yaml:2: this is no YAML: found character '\t' that cannot start any token; mend it, and the rest can be checked; a text with brackets or colons belongs in quotes",
			},
		},
		{
			name: "an empty file",
			file: "# nothing\n",
			want: []string{
				"nines.yaml:1: the file is empty; configs/small.yaml is the smallest useful one",
			},
		},
		{
			name: "two documents",
			file: "listen: []\n---\nmedia: {}\n",
			want: []string{
				"nines.yaml:3: a second document starts here; keep one, without --- in the middle",
			},
		},
		{
			name: "a file that is a list",
			file: "- listen\n",
			want: []string{
				"nines.yaml:1: keys and values are expected here, not a list; configs/small.yaml is the smallest useful file",
			},
		},
		{
			name: "a file that nests too deep",
			file: "listen: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
			want: []string{
				"nines.yaml:1: lists and mappings are nested too deep",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.file
			if text == "" {
				text = spoil(t, base, tt.spoil...)
			}
			if diff := cmp.Diff(problemsOf(text), tt.want); diff != "" {
				t.Errorf("a file with %s is told so (- got, + want):\n%s", tt.name, diff)
			}
		})
	}
}
