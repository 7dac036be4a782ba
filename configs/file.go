// Package configs reads, checks and explains nines.yaml, and holds the examples we ship.
//
// [Read] and [Parse] turn YAML into a [File]: a plain tree of typed values with the defaults filled in, in the order in which they were written.
// They never stop at the first problem: everything that is wrong, doubtful or without effect comes back as a [Problem] with line, path, what and fix.
// A File is usable when its [Problems] hold no Error.
//
// The package decides nothing about calls and knows none of the other rooms; app turns a File into each room's Config.
package configs

import (
	"net/netip"
	"slices"
	"time"
)

// File is one nines.yaml with defaults applied. It is never changed after it was read.
type File struct {
	Name           string     // who we are; told to partners, printed in reports
	Listen         []Listener // one-sided: where we listen. Empty when Sides is not
	Sides          []Side     // named sides, in file order
	Advertise      string     // host for Via, Contact and Record-Route, without brackets; empty: the socket's own address
	TLS            TLS
	Media          Media
	State          string // folder for holds, last accepted file, DNS answers, journal
	Run            string // folder for control socket and call slots
	UnknownSources UnknownSources
	Trunks         []Trunk    // in file order
	Endpoints      []Endpoint // in file order
	Routes         []Route    // in file order
	Announcements  []Announcement
	Health         Health
	Journal        Journal
	CallBacks      CallBacks
	HEP            HEP
	Console        Console
	Notify         []Notification
	Public         Public
}

// Transport is how SIP travels.
type Transport string

// The transports.
const (
	UDP        Transport = "udp"
	TCP        Transport = "tcp"
	TLSOverTCP Transport = "tls"
)

// Listener is a socket on which we take SIP.
type Listener struct {
	Transport Transport
	Addr      netip.AddrPort
}

// String gives the listener as it is written in the file.
func (l Listener) String() string { return string(l.Transport) + "://" + l.Addr.String() }

// Side is a named side of the box, with its own sockets and addresses.
type Side struct {
	Name      string
	On        []Listener
	Advertise string     // as File.Advertise
	Media     netip.Addr // invalid: Media.Addresses
}

// TLS names our certificate. All empty: none.
type TLS struct {
	Certificate string // PEM file
	Key         string // PEM file
	ClientCA    string // PEM file; callers' certificates are checked against it
}

// Media says where media is relayed.
type Media struct {
	Addresses []netip.Addr // at least one
	PortMin   uint16       // first port
	PortMax   uint16       // last port
	FastPath  FastPath
}

// Pairs is how many pairs of an even and the next odd port fit into the range.
func (m Media) Pairs() int {
	first := (int(m.PortMin) + 1) / 2
	last := (int(m.PortMax) - 1) / 2
	return max(0, last-first+1)
}

// FastPath says whether media goes through the kernel.
type FastPath string

// The fast paths.
const (
	FastPathAuto    FastPath = "auto"
	FastPathOff     FastPath = "off"
	FastPathRequire FastPath = "require" // alarm when the kernel can't, and go on in userspace
)

// UnknownSources says what happens to calls from an address that is on no trunk.
type UnknownSources string

// The treatments of unknown sources.
const (
	Drop            UnknownSources = "drop"
	AnswerEmergency UnknownSources = "answer_emergency" // emergency numbers are routed, the rest gets 403
)

// TrunkKind says what stands at the far end of a trunk.
type TrunkKind string

// The kinds of trunk.
const (
	Carrier TrunkKind = "carrier"
	PBX     TrunkKind = "pbx" // a PBX that calls out through us
	Aid     TrunkKind = "aid" // another force's nines
)

// OptionsMode says how we answer a trunk's OPTIONS.
type OptionsMode string

// The ways to answer OPTIONS.
const (
	Serving  OptionsMode = "serving"  // 200 while this node takes calls
	Truthful OptionsMode = "truthful" // 500 once real calls have failed for 10 s
)

// Trunk is a carrier or PBX that sends us calls.
type Trunk struct {
	Name      string
	Kind      TrunkKind
	From      []netip.Prefix // its addresses; a single address is a /32 or /128
	Out       []string       // PBX only: endpoints that take its calls
	GiveUp    time.Duration  // how long a call may live while nothing rings anywhere
	Options   OptionsMode
	Symmetric bool   // media may come from another port of the same host than it said
	Via       string // side; empty with one side
}

// Answers says who answers at an endpoint.
type Answers string

// The ways to answer.
const (
	Person Answers = "person"
	Queue  Answers = "queue" // an ACD that answers 200 and then queues
)

// Endpoint is a place that can answer.
type Endpoint struct {
	Name       string
	URI        URI
	Calls      int // calls it can take at once; 0: no limit is known
	Reserve    int // of Calls, how many routine calls must leave free
	Answers    Answers
	MediaFrom  []netip.Prefix // networks its media may move to
	Addresses  []netip.Addr   // used when DNS fails
	Partner    bool           // another force
	RequireTLS bool           // never fall back to TCP
	Follow3xx  bool           // follow its redirects
	Symmetric  bool           // as Trunk.Symmetric
	Via        string         // side; empty with one side
}

// Class says how a call is treated.
type Class string

// The classes.
const (
	Emergency Class = "emergency"
	Routine   Class = "routine"
	Test      Class = "test"
)

// EarlyMedia says whether a caller hears an endpoint before it answers.
type EarlyMedia string

// The choices of early media.
const (
	NoEarlyMedia    EarlyMedia = "none"
	FirstEarlyMedia EarlyMedia = "first"
)

// RescueBye says when an endpoint's BYE is taken as its death.
type RescueBye string

// The choices of rescue_bye.
const (
	NeverRescueBye      RescueBye = "never"
	SuspiciousRescueBye RescueBye = "suspicious"
)

// Hearing says what a caller hears during a rescue.
type Hearing string

// The choices of hearing.
const (
	HearNothing     Hearing = "nothing"
	HearComfort     Hearing = "comfort"
	HearHoldTheLine Hearing = "hold-the-line"
)

// Route says which numbers, of which class, ask which endpoints.
type Route struct {
	Name              string
	Class             Class
	Aid               bool       // its calls came as mutual aid
	Trunks            []string   // empty: every trunk
	Numbers           []string   // exact, or ending in *; without spaces and dashes
	Ask               [][]string // in order; an inner list of several shares by free slots
	Patience          time.Duration
	Progress          time.Duration
	Ringing           time.Duration // 0: never
	RingingToPartners time.Duration // 0: never
	Overlap           bool
	Overflow          bool // overflow_to_partners
	EarlyMedia        EarlyMedia
	Rescue            bool
	RescueBye         RescueBye
	Hearing           Hearing
	Otherwise         []Step
	Shed              *Shed  // nil: never
	Relay             string // what follows for the text relay: person, or the announcement with the longer text
}

// Step is one step of a route's otherwise. Exactly one of Wait, Announce, Divert and Reject is set; a Wait may have an Announce beside it.
type Step struct {
	Wait     time.Duration
	Announce string   // name of an announcement; beside Wait it is heard over and over
	Escape   *Escape  // only with Announce; nil: no way out
	Divert   []string // endpoints
	Cap      int      // of Divert: how many such calls at once; of Wait: how many callers wait at once; 0: no limit
	Reject   int      // 480, 486 or 600
}

// Escape moves a caller who presses a key to another route.
type Escape struct {
	Digit string // one of 0-9 * #
	To    string // name of an emergency route
}

// Shed says at which emergency load routine calls hear the announcement instead.
type Shed struct {
	When       int           // emergency calls waiting: from here on
	WhenSlots  int           // partners' free slots: so few or fewer; -1: not looked at
	Until      int           // emergency calls waiting: back again at this
	UntilSlots int           // partners' free slots: back again with so many
	For        time.Duration // how long it must have been so
	Announce   string        // what their callers hear
}

// RelayPerson is a route's relay where callers of the text relay go straight to a person.
const RelayPerson = "person"

// AnnounceAnswer says how an announcement is played.
type AnnounceAnswer string

// The ways to play an announcement.
const (
	Final AnnounceAnswer = "final" // answered with 200
	Early AnnounceAnswer = "early" // 183, no charge
)

// Announcement is a spoken text.
type Announcement struct {
	Name    string
	Files   []string // WAV files, played in order; empty: the built-in text
	Answer  AnnounceAnswer
	Times   int       // how often it is played to one caller
	Expires time.Time // start of the day on which it is out of date, UTC; zero: never
}

// FailBack says how an endpoint earns its calls back.
type FailBack string

// The ways back.
const (
	FailBackAuto   FailBack = "auto"
	FailBackProbes FailBack = "probes"
	FailBackManual FailBack = "manual"
)

// Health says how endpoints are probed and judged.
type Health struct {
	Every         time.Duration
	PartnersEvery time.Duration
	Timeout       time.Duration
	DownAfter     int // missed probes
	UpAfter       int // good probes
	HoldDown      time.Duration
	MediaGap      time.Duration
	FailBack      FailBack
}

// Journal says where the book is and how long it is kept.
type Journal struct {
	Path         string
	Keep         time.Duration
	KeepMessages time.Duration
	KeepSize     int64 // bytes; 0: no limit
	Messages     Messages
	SignKey      string
	Also         []Also
}

// Also is a second place where entries go: one of the two.
type Also struct {
	File string // lines of JSON
	I3   string // the address of an i3 Logging Service
}

// Messages says of which calls the full SIP text is kept.
type Messages string

// Whose messages are kept.
const (
	NoMessages        Messages = "none"
	EmergencyMessages Messages = "emergency"
	AllMessages       Messages = "all"
)

// CallBacks says how the call-back list is kept (R34).
type CallBacks struct {
	Keep time.Duration
	Mask Mask
}

// Mask says whose numbers on the call-back list nobody is shown.
type Mask string

// Whose numbers are masked.
const (
	MaskNone    Mask = "none"
	MaskCleared Mask = "cleared" // of those who need no call any more
)

// HEP says where a copy of each SIP message of a call goes (HEP3, Homer). Without To none does.
type HEP struct {
	To       string // udp://host:9060
	ID       int    // of this node, at the capture server
	Password string
}

// Console says where the console listens and who may act there.
type Console struct {
	Listen     netip.AddrPort
	TokensFile string
}

// Urgency says which notices a receiver wants at least.
type Urgency string

// The urgencies.
const (
	UrgencyInfo     Urgency = "info"
	UrgencyWarning  Urgency = "warning"
	UrgencyCritical Urgency = "critical"
)

// Notification is one way to tell somebody. Exactly one of Webhook, Mail and Heartbeat is set.
type Notification struct {
	Webhook    string
	SecretFile string   // only with Webhook: what its messages are signed with, a secret a line
	Headers    []Header // only with Webhook
	Mail       string
	SMTP       string // only with Mail
	From       string // only with Mail; empty: nines at the domain of Mail
	AuthFile   string // only with Mail: user and password, a line each
	Heartbeat  string
	Every      time.Duration // only with Heartbeat
	CA         string        // PEM file of certificates that are trusted instead of the system's
	Repeat     time.Duration // until somebody acknowledges
	Severity   Urgency       // nothing below it
	Rooms      []string      // endpoints whose abandoned calls are told here, and nothing else
}

// Header is one header of a webhook's request.
type Header struct{ Name, Value string }

// Public is what a notice to the public says of us, beside the numbers of the routes.
type Public struct {
	Name        string // as the public knows us; empty: File.Name
	NameCY      string // in Welsh; empty: Name
	Online      string // where things are reported online; empty: nowhere
	OnlineCY    string // in Welsh; empty: Online
	Alternative string // another number that people may call meanwhile; it is on a route
}

// Trunk finds a trunk by name.
func (f *File) Trunk(name string) (Trunk, bool) {
	for _, t := range f.Trunks {
		if t.Name == name {
			return t, true
		}
	}
	return Trunk{}, false
}

// Endpoint finds an endpoint by name.
func (f *File) Endpoint(name string) (Endpoint, bool) {
	for _, e := range f.Endpoints {
		if e.Name == name {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Route finds a route by name.
func (f *File) Route(name string) (Route, bool) {
	for _, r := range f.Routes {
		if r.Name == name {
			return r, true
		}
	}
	return Route{}, false
}

// Announcement finds an announcement by name: as it is written, or else as one that is built in.
func (f *File) Announcement(name string) Announcement {
	for _, a := range f.Announcements {
		if a.Name == name {
			return a
		}
	}
	return Announcement{Name: name, Answer: Final, Times: defaultTimes}
}

// serves says that calls of a trunk can be on a route. A PBX gets onto a route only by name: its call-backs must never ring our own desk (R1).
func (t Route) serves(trunk Trunk) bool {
	if len(t.Trunks) == 0 {
		return trunk.Kind != PBX
	}
	return slices.Contains(t.Trunks, trunk.Name)
}

// giveUp is how long a trunk's call on a route may live while nothing rings: mutual aid has its own limit (R9).
func (t Route) giveUp(trunk Trunk) time.Duration {
	if t.Aid || trunk.Kind == Aid {
		return aidGiveUp
	}
	return trunk.GiveUp
}

// Listeners is every socket we listen on, of all sides.
func (f *File) Listeners() []Listener {
	all := f.Listen
	for _, s := range f.Sides {
		all = append(all[:len(all):len(all)], s.On...)
	}
	return all
}

// defaults is a File in which nothing was written.
func defaults() *File {
	return &File{
		Name:           "nines",
		Media:          Media{PortMin: 20000, PortMax: 29999, FastPath: FastPathAuto},
		State:          "/var/lib/nines",
		Run:            "/run/nines",
		UnknownSources: Drop,
		Health: Health{
			Every:         time.Second,
			PartnersEvery: 10 * time.Second,
			Timeout:       800 * time.Millisecond,
			DownAfter:     3,
			UpAfter:       5,
			HoldDown:      30 * time.Second,
			MediaGap:      2 * time.Second,
			FailBack:      FailBackAuto,
		},
		Journal:   Journal{Path: "nines.db", Keep: 400 * day, KeepMessages: 30 * day, Messages: EmergencyMessages, SignKey: "journal.key"},
		CallBacks: CallBacks{Keep: 30 * day, Mask: MaskNone},
		HEP:       HEP{ID: 2001},
		Console:   Console{Listen: netip.MustParseAddrPort("127.0.0.1:8080"), TokensFile: "tokens"},
	}
}

func defaultTrunk(name string) Trunk {
	return Trunk{Name: name, Kind: Carrier, Options: Serving}
}

// giveUp is a trunk's give_up when none is written: R9 gives mutual aid 5 s.
func (k TrunkKind) giveUp() time.Duration {
	if k == Aid {
		return aidGiveUp
	}
	return 20 * time.Second
}

// aidGiveUp is how long a call that came as mutual aid may live while nothing rings (R9).
const aidGiveUp = 5 * time.Second

func defaultEndpoint(name string) Endpoint {
	return Endpoint{Name: name, Answers: Person}
}

func defaultRoute() Route {
	return Route{
		// Who forgot to say what a route is for gets the careful treatment.
		Class:      Emergency,
		Patience:   time.Second,
		Progress:   4 * time.Second,
		Overlap:    true,
		EarlyMedia: NoEarlyMedia,
		Rescue:     true,
		RescueBye:  SuspiciousRescueBye,
		Hearing:    HearNothing,
		Relay:      RelayPerson,
	}
}

func defaultShed() *Shed {
	return &Shed{When: 5, WhenSlots: -1, Until: 1, UntilSlots: -1, For: time.Minute, Announce: "high-demand"}
}

// defaultTimes is how often an announcement is played to one caller.
const defaultTimes = 3
