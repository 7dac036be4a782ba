// Package policy decides who is asked for a called number, in which order and for how long, and what each refusal means.
//
// [New] compiles a [Policy] once per accepted configuration; [Policy.Match] finds a call's route, [Policy.Plan] orders its endpoints, [Means],
// [FinalCode] and [Evidence] are the refusal table, and [Slots] counts what each endpoint has.
//
// It is pure: a [Policy] is compiled once from a [Config] and never changes; the state of the world comes in as a [View], a [Plan] comes out.
// It reads no clock and starts nothing. What happens while a plan is carried out is the call's matter (package call).
package policy

import (
	"time"

	"nines/health"
)

// Names of things in the configuration. They are types so that they can't be mixed up.
type (
	// TrunkName names a carrier or PBX that sends us calls.
	TrunkName string
	// EndpointName names a place that can answer.
	EndpointName = health.EndpointName
	// RouteName names a route.
	RouteName string
)

// Class says how a call is treated.
type Class uint8

// The classes. The zero value is Emergency: what nobody classified is treated as the worst case.
const (
	Emergency Class = iota
	Routine
	Test
)

// TrunkKind says what stands at the far end of a trunk.
type TrunkKind uint8

// The kinds of trunk.
const (
	Carrier TrunkKind = iota // a telephone carrier: unknown numbers are emergencies
	PBX                      // a PBX that calls out through us: unknown numbers go to its out list, else 404
	Aid                      // another force's nines: its calls are mutual aid already
)

// Trunk is a carrier or PBX that sends us calls.
type Trunk struct {
	Name   TrunkName
	Kind   TrunkKind
	Out    []EndpointName // PBX only: where its calls go
	GiveUp time.Duration  // how long a call may live while nothing rings anywhere
}

// Endpoint is a place that can answer, as far as planning needs to know it.
type Endpoint struct {
	Name      EndpointName
	Partner   bool // another force: asked after own rooms, marked as mutual aid
	Calls     int  // calls it can take at once; 0 means unlimited
	Reserve   int  // of Calls, how many routine calls must leave free
	Follow3xx bool // a redirect from it is followed
}

// Route says which numbers, of which class, ask which endpoints.
type Route struct {
	Name    RouteName
	Class   Class
	Trunks  []TrunkName // empty: every trunk
	Numbers []string    // exact, or ending in *
	// Ask holds the endpoints in order. An inner list of more than one shares by free slots.
	Ask               [][]EndpointName
	Patience          time.Duration // no response of any kind: ask the next as well
	Progress          time.Duration // only a 100: ask the next as well
	Ringing           time.Duration // rings unanswered: ask the next own room as well; 0 means never
	RingingToPartners time.Duration // rings unanswered: a partner may be asked as well; 0 means never
	Overlap           bool          // false: move on instead of asking as well
	Overflow          bool          // overflow_to_partners: full own rooms are reason enough to ask partners before them
	EarlyMedia        bool          // early_media: first
	NoRescue          bool          // rescue: off
	RescueBye         bool          // rescue_bye: suspicious
	Hearing           Hearing       // what the caller hears during a rescue
	Aid               bool          // calls on this route came as mutual aid
	Otherwise         []Otherwise   // what follows when nobody takes a call (R24); not on an emergency route
	Shed              *Shed         // when emergency load leaves its callers to the announcement (R26); nil: never
	Relay             Relay         // what follows instead for the text relay
}

// Hearing is what a caller hears while somebody is looked for in the place of a lost endpoint (R21).
type Hearing uint8

// The choices. Nothing is the default: a hidden caller may be in danger.
const (
	HearNothing Hearing = iota
	HearComfort
	HearHoldTheLine
)

// Config is what a Policy is compiled from.
type Config struct {
	Trunks    []Trunk
	Endpoints []Endpoint
	Routes    []Route
}

// Query is what is known of a new call when its route is looked up.
type Query struct {
	Trunk TrunkName
	// RequestURI and To are raw URIs (sip:, sips:, tel: or urn:), without angle brackets or header parameters.
	RequestURI string
	To         string
	// Others are further URIs that may name the called number or service: P-Called-Party-ID, a Route urn, History-Info's first entry.
	Others []string
	// Marked is set when the call carries our mutual-aid marker in History-Info.
	Marked bool
	// Caller is the calling number or URI, for the text relay's prefix.
	Caller string
	// Treated says whether an operator has a route treated as emergency (R1). Nil: none is.
	Treated func(RouteName) bool
}

// Match is the route that was found for a call.
type Match struct {
	Found      bool // false: a PBX called a number that is on no route and it has no out list; answer 404
	Route      Route
	Trunk      Trunk
	Number     string    // the called number or URN as matched, normalised
	SecondLine bool      // unrouted: waits its turn at full partners (R7)
	Aid        bool      // came as mutual aid: no partner is asked again (R9)
	Relay      bool      // came by way of the text relay (18001)
	Treated    RouteName // the routine route it was on before an operator had that treated as emergency; empty: none
	Why        string    // one sentence for the record
}

// State is what is known of one endpoint at the moment of planning.
type State struct {
	Verdict health.Verdict
	Held    bool
	Used    int  // calls it has now, asked and talking
	Busy    bool // it said 480, 486 or 600 within the last 5 s (R14): as good as full
	// Returning is set while it must still prove itself (R17, [health.Standing].Returning): emergency calls go there last, routine calls in its place.
	Returning bool
	Canary    bool // one emergency call may try it ([health.Standing].CanaryDue)
	// Words is health's sentence for the verdict ([health.Standing].Words); empty: the bare verdict. It goes into [Step].Why.
	Words string
}

// View is the world at the moment of planning.
type View struct {
	State func(EndpointName) State
	// TakeCanary takes the one canary seat of a returning endpoint ([Slots].TakeCanary); false: another call has it. It is asked only for an endpoint
	// that the canary would ask first. Nil: the seat is free, for plans that are only shown.
	TakeCanary func(EndpointName) bool
	// MaxForwards is what the caller's request still had (70 where it had none). At 0 partners leave the plan (R9).
	MaxForwards int
	// CallerOut is set when this caller's number is already in a call at a partner: partners are asked last, and one only (R9).
	CallerOut bool
	// Shed is set while emergency load leaves the route's callers to its announcement: nobody is asked (R26). It counts for no emergency call.
	Shed bool
	// Turn is set for a routine caller who has waited and whose turn it is: only who is neither down nor held nor full is asked.
	Turn bool
}

// Plan is one call's ordered attempts and its patience.
type Plan struct {
	Route             RouteName
	Class             Class
	SecondLine        bool
	Steps             []Step
	Progress          time.Duration
	Ringing           time.Duration // 0 means never
	RingingToPartners time.Duration // 0 means never
	Overlap           bool
	EarlyMedia        bool
	Rescue            bool // a talking call that loses its endpoint is moved to another (R21)
	RescueBye         bool // a suspicious BYE may be the loss of the endpoint (R23); needs Rescue
	GiveUp            time.Duration
	Why               string // what shaped the plan besides health and slots (R9), in plain words; empty when nothing did
	// Otherwise is what follows when nobody takes the call. An emergency call has none.
	Otherwise []Otherwise
	// Impaired says that an endpoint of the route is down, held or full: then otherwise follows a callee's own refusal, too (R6).
	Impaired bool
}

// Step is one place in a plan.
type Step struct {
	Endpoint  EndpointName
	Partner   bool
	Patience  time.Duration
	Follow3xx bool
	// Canary marks the one emergency call that tries a returning endpoint; only a plan's first step can be one (R17). The seat is given back with
	// [Slots].LeaveCanary when the attempt is over, and the evidence of the call says that it was the canary.
	Canary bool
	// AsWell is how long after this step is asked the next is asked as well unless somebody has answered, whatever this one says: also while it rings.
	// 0 means never.
	AsWell time.Duration
	Why    string // why it stands here, for the record and for explain: "up", "down since …", "full (60 of 60)"
}
