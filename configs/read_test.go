package configs

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what was got into testdata, to be reviewed")

var compareNet = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

var compareAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// product is the file of the contract, PRODUCT section 2, word for word.
func product(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parsed(t *testing.T, text string, opts ...Option) *File {
	t.Helper()
	f, problems := Parse("nines.yaml", []byte(text), append([]Option{At(today), Loading(noFiles)}, opts...)...)
	if !problems.OK() {
		t.Fatalf("a file that should be accepted is refused:\n%s", problems)
	}
	return f
}

func TestTheContractsFileIsAccepted(t *testing.T) {
	got := parsed(t, product(t), InFolder("/etc/nines"))
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	want := &File{
		Name: "west-mercia",
		Listen: []Listener{
			{UDP, netip.MustParseAddrPort("0.0.0.0:5060")},
			{UDP, netip.MustParseAddrPort("[::]:5060")},
			{TCP, netip.MustParseAddrPort("0.0.0.0:5060")},
			{TLSOverTCP, netip.MustParseAddrPort("0.0.0.0:5061")},
		},
		Advertise:      "203.0.113.10",
		TLS:            TLS{Certificate: "/etc/nines/tls.pem", Key: "/etc/nines/tls.key", ClientCA: "/etc/nines/partners.pem"},
		Media:          Media{Addresses: []netip.Addr{addr("203.0.113.10"), addr("2001:db8::10")}, PortMin: 20000, PortMax: 29999, FastPath: FastPathAuto},
		State:          "/var/lib/nines",
		Run:            "/run/nines",
		UnknownSources: Drop,
		Trunks: []Trunk{
			{Name: "bt", Kind: Carrier, From: []netip.Prefix{prefix("192.0.2.0/24"), prefix("2001:db8::/48")}, GiveUp: 20 * time.Second, Options: Serving},
			{Name: "desk-phones", Kind: PBX, From: []netip.Prefix{prefix("10.0.0.10/32")}, Out: []string{"bt-outbound"}, GiveUp: 20 * time.Second, Options: Serving},
			{Name: "from-warwickshire", Kind: Aid, From: []netip.Prefix{prefix("198.51.100.7/32")}, GiveUp: 5 * time.Second, Options: Serving},
		},
		Endpoints: []Endpoint{
			{Name: "control-room", URI: URI{Raw: "sip:10.0.0.10:5060", Scheme: "sip", Host: "10.0.0.10", Port: 5060}, Calls: 60, Reserve: 10, Answers: Person},
			{
				Name: "standby-room", URI: URI{Raw: "sip:10.0.1.10:5060;transport=tcp", Scheme: "sip", Host: "10.0.1.10", Port: 5060, Transport: TCP}, Calls: 30,
				Answers: Person, MediaFrom: []netip.Prefix{prefix("10.0.1.0/24")}, Addresses: []netip.Addr{addr("10.0.1.10")},
			},
			{
				Name:  "warwickshire",
				URI:   URI{Raw: "sip:+441926415000@pbx.warks.example;transport=tls", Scheme: "sip", User: "+441926415000", Host: "pbx.warks.example", Transport: TLSOverTCP},
				Calls: 12, Answers: Person, Partner: true,
			},
			{
				Name: "staffordshire", URI: URI{Raw: "sip:+441785234000@pbx.staffs.example", Scheme: "sip", User: "+441785234000", Host: "pbx.staffs.example"},
				Calls: 8, Answers: Person, Partner: true,
			},
			{Name: "bt-outbound", URI: URI{Raw: "sip:gw.bt.example", Scheme: "sip", Host: "gw.bt.example"}, Answers: Person},
		},
		Routes: []Route{
			{
				Name: "999", Class: Emergency, Trunks: []string{"bt", "from-warwickshire"},
				Numbers:  []string{"999", "112", "18000", "urn:service:sos*", "+441905331999"},
				Ask:      [][]string{{"control-room"}, {"standby-room"}, {"warwickshire", "staffordshire"}},
				Patience: time.Second, Progress: 4 * time.Second, Overlap: true, EarlyMedia: NoEarlyMedia,
				Rescue: true, RescueBye: SuspiciousRescueBye, Hearing: HearNothing, Relay: RelayPerson,
			},
			{
				Name: "aid", Class: Emergency, Aid: true, Numbers: []string{"+441905331998"}, Ask: [][]string{{"control-room"}, {"standby-room"}},
				Patience: time.Second, Progress: 4 * time.Second, Overlap: true, EarlyMedia: NoEarlyMedia,
				Rescue: true, RescueBye: SuspiciousRescueBye, Hearing: HearNothing, Relay: RelayPerson,
			},
			{
				Name: "101", Class: Routine, Numbers: []string{"101", "+441905331101"}, Ask: [][]string{{"control-room"}, {"standby-room"}},
				Patience: time.Second, Progress: 4 * time.Second, Overlap: true, EarlyMedia: NoEarlyMedia,
				Rescue: true, RescueBye: SuspiciousRescueBye, Hearing: HearNothing, Relay: RelayPerson,
				Otherwise: []Step{{Wait: 2 * time.Minute}, {Announce: "report-online", Escape: &Escape{Digit: "9", To: "999"}}},
				Shed:      &Shed{When: 5, WhenSlots: -1, Until: 1, UntilSlots: 0, For: time.Minute, Announce: "high-demand"},
			},
		},
		Announcements: []Announcement{{
			Name: "report-online", Files: []string{"/etc/nines/report-online-en.wav", "/etc/nines/report-online-cy.wav"}, Answer: Final, Times: 3,
			Expires: time.Date(2027, time.June, 30, 0, 0, 0, 0, time.UTC),
		}},
		Health: Health{
			Every: time.Second, PartnersEvery: 10 * time.Second, Timeout: 800 * time.Millisecond, DownAfter: 3, UpAfter: 5,
			HoldDown: 30 * time.Second, MediaGap: 2 * time.Second, FailBack: FailBackAuto,
		},
		Journal:   Journal{Path: "/var/lib/nines/nines.db", Keep: 400 * day, KeepMessages: 30 * day, Messages: EmergencyMessages, SignKey: "/var/lib/nines/journal.key"},
		CallBacks: CallBacks{Keep: 30 * day, Mask: MaskNone},
		HEP:       HEP{ID: 2001},
		Console:   Console{Listen: netip.MustParseAddrPort("127.0.0.1:8080"), TokensFile: "/etc/nines/tokens"},
		Notify: []Notification{
			{Webhook: "https://hooks.example/…", Every: time.Minute, Repeat: 5 * time.Minute, Severity: UrgencyInfo},
			{Mail: "ops@force.example", SMTP: "smtp://mail.example:25", Every: time.Minute, Repeat: 5 * time.Minute, Severity: UrgencyInfo},
			{Heartbeat: "https://watch.example/…", Every: time.Minute, Repeat: 5 * time.Minute, Severity: UrgencyInfo},
		},
	}
	if diff := cmp.Diff(got, want, compareNet, compareAddr, compareAddrPort); diff != "" {
		t.Errorf("the contract's file is read as (- got, + want):\n%s", diff)
	}
}

// Only listen, media.address, trunks, endpoints and routes are required; the values that the contract shows are the defaults.
func TestWhatIsNotWrittenHasTheDefaultOfTheContract(t *testing.T) {
	whole := parsed(t, product(t))
	bare := parsed(t, base)
	bareRoute, wholeRoute := bare.Routes[0], whole.Routes[0]
	bareRoute.Trunks, bareRoute.Numbers, bareRoute.Ask = wholeRoute.Trunks, wholeRoute.Numbers, wholeRoute.Ask
	whole.TLS, whole.Notify, whole.Announcements = TLS{}, nil, nil // they say where things are
	for _, same := range []struct {
		key       string
		got, want any
	}{
		{"media.ports", [2]uint16{bare.Media.PortMin, bare.Media.PortMax}, [2]uint16{whole.Media.PortMin, whole.Media.PortMax}},
		{"media.fast_path", bare.Media.FastPath, whole.Media.FastPath},
		{"state", bare.State, whole.State},
		{"run", bare.Run, whole.Run},
		{"unknown_sources", bare.UnknownSources, whole.UnknownSources},
		{"health", bare.Health, whole.Health},
		{"journal", bare.Journal, whole.Journal},
		{"console", bare.Console, whole.Console},
		{"a route", bareRoute, wholeRoute},
		{"a trunk's kind", bare.Trunks[0].Kind, whole.Trunks[0].Kind},
		{"a trunk's give_up", bare.Trunks[0].GiveUp, whole.Trunks[0].GiveUp},
		{"a trunk's options", bare.Trunks[0].Options, whole.Trunks[0].Options},
		{"an endpoint's answers", bare.Endpoints[0].Answers, whole.Endpoints[0].Answers},
	} {
		if diff := cmp.Diff(same.got, same.want, compareAddrPort, compareAddr); diff != "" {
			t.Errorf("%s has another default than the contract shows (- got, + want):\n%s", same.key, diff)
		}
	}
}

func TestAWrittenValueWinsOverItsDefault(t *testing.T) {
	f := parsed(t, spoil(
		t, product(t),
		"class: emergency              #", "class: emergency\n    rescue: off\n    ringing_to_partners: 25s\n    ringing: 20s\n    early_media: first\n    hearing: comfort #",
		"    rescue: on ", "    #",
		"    ringing: never", "    #",
		"    ringing_to_partners: never", "    #",
		"    early_media: none", "    #",
		"    hearing: nothing", "    #",
		"overlap: true", "overlap: false",
		"overflow_to_partners: false", "overflow_to_partners: true",
		"rescue_bye: suspicious", "rescue_bye: never",
		"follow_3xx: false, symmetric: false", "follow_3xx: true, symmetric: true",
		"require_tls: false", "require_tls: true",
		"answers: person", "answers: queue",
		"give_up: 20s, options: serving", "give_up: 30s, options: truthful, symmetric: true",
		"hold_down: 30s", "hold_down: 0",
		"unknown_sources: drop", "unknown_sources: answer_emergency",
		"fast_path: auto", "fast_path: off",
		"keep: 400d", "keep: 1d12h",
	))
	r := f.Routes[0]
	if r.Rescue || r.Overlap || !r.Overflow || r.RescueBye != NeverRescueBye || r.Hearing != HearComfort || r.EarlyMedia != FirstEarlyMedia {
		t.Errorf("a route's words are not taken: %+v", r)
	}
	if r.Ringing != 20*time.Second || r.RingingToPartners != 25*time.Second {
		t.Errorf("ringing is %s, and %s to partners; 20s and 25s were written", r.Ringing, r.RingingToPartners)
	}
	bt, _ := f.Trunk("bt")
	if bt.GiveUp != 30*time.Second || bt.Options != Truthful || !bt.Symmetric {
		t.Errorf("a trunk's words are not taken: %+v", bt)
	}
	staffs, _ := f.Endpoint("staffordshire")
	warks, _ := f.Endpoint("warwickshire")
	room, _ := f.Endpoint("control-room")
	if !staffs.Follow3xx || !staffs.Symmetric || !warks.RequireTLS || room.Answers != Queue {
		t.Errorf("endpoints' words are not taken: %+v %+v %+v", staffs, warks, room)
	}
	if f.Health.HoldDown != 0 || f.UnknownSources != AnswerEmergency || f.Media.FastPath != FastPathOff || f.Journal.Keep != 36*time.Hour {
		t.Errorf("words elsewhere are not taken: %+v %s %s %s", f.Health, f.UnknownSources, f.Media.FastPath, f.Journal.Keep)
	}
}

func TestSidesAreReadInOrderAndNeedNoQuotes(t *testing.T) {
	f := parsed(t, spoil(
		t, base, "[udp://0.0.0.0:5060]",
		"{ outside: { on: [udp://203.0.113.10:5060, tcp://203.0.113.10], advertise: 203.0.113.10, media: 203.0.113.10 }, inside: { on: [udp://10.0.0.2:5060], media: 10.0.0.2 } }",
		"from: [192.0.2.0/24]", "from: [192.0.2.0/24, 2001:db8::/48], via: outside",
	))
	want := []Side{
		{
			Name: "outside", On: []Listener{{UDP, netip.MustParseAddrPort("203.0.113.10:5060")}, {TCP, netip.MustParseAddrPort("203.0.113.10:5060")}},
			Advertise: "203.0.113.10", Media: netip.MustParseAddr("203.0.113.10"),
		},
		{Name: "inside", On: []Listener{{UDP, netip.MustParseAddrPort("10.0.0.2:5060")}}, Media: netip.MustParseAddr("10.0.0.2")},
	}
	if diff := cmp.Diff(f.Sides, want, compareAddr, compareAddrPort); diff != "" {
		t.Errorf("sides are read as (- got, + want):\n%s", diff)
	}
	if got := len(f.Listeners()); got != 3 {
		t.Errorf("two sides have %d sockets, want all 3", got)
	}
	if got, want := f.Trunks[0].From[1], netip.MustParsePrefix("2001:db8::/48"); got != want {
		t.Errorf("an IPv6 network without quotes is read as %s, want %s", got, want)
	}
	if f.Trunks[0].Via != "outside" {
		t.Errorf("the trunk is on side %q, want outside", f.Trunks[0].Via)
	}
}

func TestAColonWithABlankOrAQuotedKeyIsStillAMapping(t *testing.T) {
	for _, text := range []string{"{ from: [a: 1] }", `{ from: ["a":1] }`, "{ from: [{a:1}] }"} {
		got := problemsOf(spoil(t, base, "{ from: [192.0.2.0/24] }", text))
		want := []string{"nines.yaml:4: trunks.bt.from[0]: one value is expected here, not a mapping"}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s is told so (- got, + want):\n%s", text, diff)
		}
	}
}

func TestNumbersAreComparableHoweverTheyAreWritten(t *testing.T) {
	f := parsed(t, spoil(t, base, `numbers: ["999"]`, `numbers: [999, 0800, "+44 (1905) 331-999", +441905331998, 18000*, "URN:service:SOS*", "*", police.desk]`))
	want := []string{"999", "0800", "+441905331999", "+441905331998", "18000*", "urn:service:sos*", "*", "police.desk"}
	if diff := cmp.Diff(f.Routes[0].Numbers, want); diff != "" {
		t.Errorf("numbers are read as (- got, + want):\n%s", diff)
	}
}

func TestRelativePathsStartAtTheFilesFolder(t *testing.T) {
	text := base + "state: ../state\nrun: run\njournal: { path: book.db, sign_key: /etc/key, keep_size: 20GB, also: [{ file: book.jsonl }, { i3: \"https://logger.example\" }] }\nannouncements: { ours: { files: [a.wav] } }\n"
	f := parsed(t, text, InFolder("/etc/nines"))
	for _, p := range []struct{ what, got, want string }{
		{"state", f.State, "/etc/state"},
		{"run", f.Run, "/etc/nines/run"},
		{"the journal, which is relative to state,", f.Journal.Path, "/etc/state/book.db"},
		{"an absolute path", f.Journal.SignKey, "/etc/key"},
		{"the book's second place", f.Journal.Also[0].File, "/etc/state/book.jsonl"},
		{"the book's third place", f.Journal.Also[1].I3, "https://logger.example"},
		{"the book's size", strconv.FormatInt(f.Journal.KeepSize, 10), "20000000000"},
		{"an announcement", f.Announcements[0].Files[0], "/etc/nines/a.wav"},
	} {
		if p.got != p.want {
			t.Errorf("%s is at %s, want %s", p.what, p.got, p.want)
		}
	}
}

func TestARefusedFileStillSaysWhereTheAcceptedCopyLies(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"with a wrong key", "state: /srv/nines\nlisten: nowhere\n"},
		{"that is no YAML", "listen: [\nstate: \"/srv/nines\" # here\n}"},
	} {
		f, problems := Parse("nines.yaml", []byte(tt.text))
		if problems.OK() {
			t.Errorf("a file %s is accepted", tt.name)
		}
		if f.State != "/srv/nines" {
			t.Errorf("of a file %s state is %s, want /srv/nines", tt.name, f.State)
		}
	}
}

func TestAByteOrderMarkAndWindowsLinesAreNoProblem(t *testing.T) {
	if got := problemsOf("\ufeff" + strings.ReplaceAll(base, "\n", "\r\n")); got != nil {
		t.Errorf("a file saved on Windows has problems: %q", got)
	}
}

func TestAHugeFileIsRefused(t *testing.T) {
	got := problemsOf(strings.Repeat("# much ado\n", 1<<17))
	want := []string{"nines.yaml:1: the file has 1441792 bytes, more than a megabyte; this is hardly a nines.yaml"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("a huge file is told so (- got, + want):\n%s", diff)
	}
}

func TestReadSaysWhatItCannotOpen(t *testing.T) {
	if _, _, err := Read(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !os.IsNotExist(err) {
		t.Errorf("a file that is not there gives %v, want that it does not exist", err)
	}
	if _, _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder was read as a file")
	}
}

func TestAProblemIsOneLineThatSaysWhereWhatAndFix(t *testing.T) {
	_, problems := Parse("nines.yaml", []byte(`listen: [udp://0.0.0.0:5060]
media: { address: 203.0.113.10 }
trunks: { bt: { from: [192.0.2.0/24] } }
endpoints:
  north: { uri: "sip:10.0.0.10", calls: 9 }
  standby: { uri: "sip:10.0.1.10", calls: 9 }
routes:
  - { name: "999", numbers: ["999"],
      ask: [standby, soth] }
`))
	p := problems.Of(Error)
	if len(p) != 1 {
		t.Fatalf("one endpoint is misspelt, and the errors are:\n%s", p)
	}
	if got, want := p[0].String(), `nines.yaml:9: routes[0].ask[1]: no endpoint is called "soth"; did you mean "north"?`; got != want {
		t.Errorf("the problem reads\n%s, want\n%s", got, want)
	}
	if p[0].Column != 22 {
		t.Errorf("the problem is in column %d, want 22", p[0].Column)
	}
}

func TestShippedExamplesAreFreeOfProblems(t *testing.T) {
	for _, name := range []string{"nines.yaml", "small.yaml", "loopback.yaml", "compose.yaml"} {
		f, problems, err := Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) > 0 {
			t.Errorf("%s has problems:\n%s", name, problems)
		}
		if strings.Contains(f.Explain(), "%!") {
			t.Errorf("the explanation of %s is badly formatted:\n%s", name, f.Explain())
		}
	}
}

// The full example shows every key of the contract that has an effect in this version.
func TestTheFullExampleShowsEveryKeyThatWorks(t *testing.T) {
	data, err := os.ReadFile("nines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"name", "listen", "advertise", "media", "address", "ports", "fast_path", "state", "run", "unknown_sources", "trunks", "kind", "from", "out", "give_up", "options",
		"symmetric", "endpoints", "uri", "calls", "reserve", "answers", "media_from", "addresses", "partner", "follow_3xx", "routes", "class", "aid", "numbers", "ask",
		"patience", "progress", "ringing", "ringing_to_partners", "overlap", "overflow_to_partners", "early_media", "health", "every", "partners_every", "timeout",
		"down_after", "up_after", "hold_down", "fail_back", "console",
	} {
		if !strings.Contains(string(data), key+":") {
			t.Errorf("configs/nines.yaml does not show %s", key)
		}
	}
}
