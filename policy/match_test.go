package policy

import (
	"strings"
	"testing"
)

// county is a configuration with every kind of trunk.
func county() Config {
	return Config{
		Trunks: []Trunk{
			{Name: "bt", Kind: Carrier},
			{Name: "vodafone", Kind: Carrier},
			{Name: "desks", Kind: PBX, Out: []EndpointName{"gateway", "gateway-2"}},
			{Name: "alarms", Kind: PBX},
			{Name: "from-warks", Kind: Aid},
		},
		Endpoints: []Endpoint{
			{Name: "north", Calls: 60, Reserve: 10},
			{Name: "south", Calls: 30},
			{Name: "warks", Calls: 12, Partner: true},
			{Name: "staffs", Calls: 8, Partner: true},
			{Name: "gateway"},
			{Name: "gateway-2"},
		},
		Routes: []Route{
			{Name: "aid", Class: Emergency, Aid: true, Numbers: []string{"+441905331998"}, Ask: ask("north south")},
			{
				Name: "999", Class: Emergency, Trunks: []TrunkName{"bt", "from-warks"},
				Numbers: []string{"999", "112", "18000", "urn:service:sos*", "+44 1905 331999"}, Ask: ask("north south [warks staffs]"),
			},
			{Name: "101", Class: Routine, Numbers: []string{"101", "+441905331101", "+44190533*"}, Ask: ask("north south")},
			{Name: "desk-emergency", Class: Emergency, Trunks: []TrunkName{"alarms"}, Numbers: []string{"9999"}, Ask: ask("north")},
			{Name: "test", Class: Test, Numbers: []string{"urn:service:test.sos.police"}, Ask: ask("south")},
			{Name: "switchboard", Class: Routine, Trunks: []TrunkName{"vodafone"}, Numbers: []string{"+4419053*", "*"}, Ask: ask("south")},
		},
	}
}

// ask reads "north south [warks staffs]".
func ask(s string) [][]EndpointName {
	var lists [][]EndpointName
	inner := false
	for _, f := range strings.Fields(s) {
		name := EndpointName(strings.Trim(f, "[]"))
		if inner {
			lists[len(lists)-1] = append(lists[len(lists)-1], name)
		} else {
			lists = append(lists, []EndpointName{name})
		}
		inner = (inner || strings.HasPrefix(f, "[")) && !strings.HasSuffix(f, "]")
	}
	return lists
}

func TestMatchFindsTheRouteOfACall(t *testing.T) {
	p := New(county())
	for _, tt := range []struct {
		why   string
		q     Query
		route RouteName // empty: not found
		flags string    // 2 second line, a aid
	}{
		{"the number in the Request-URI", Query{Trunk: "bt", RequestURI: "sip:999@h", To: "sip:999@h"}, "999", ""},
		{"another number of the route", Query{Trunk: "bt", RequestURI: "tel:+44-1905-331999"}, "999", ""},
		{"the To names it, the Request-URI only our host", Query{Trunk: "bt", RequestURI: "sip:10.0.0.1", To: "sip:101@h"}, "101", ""},
		{"a URN that begins like the route's", Query{Trunk: "bt", RequestURI: "urn:service:SOS.police"}, "999", ""},
		{"a URN among the others", Query{Trunk: "bt", RequestURI: "sip:h", To: "sip:h", Others: []string{"", "urn:service:sos"}}, "999", ""},
		{"emergency in To wins over routine in the Request-URI", Query{Trunk: "bt", RequestURI: "sip:101@h", To: "sip:999@h"}, "999", ""},
		{"emergency in the Request-URI wins over routine in To", Query{Trunk: "bt", RequestURI: "sip:999@h", To: "sip:101@h"}, "999", ""},
		{"an emergency URN wins over two routine numbers", Query{Trunk: "bt", RequestURI: "sip:101@h", To: "sip:101@h", Others: []string{"urn:service:sos"}}, "999", ""},
		{"of two emergencies the Request-URI's", Query{Trunk: "bt", RequestURI: "sip:999@h", To: "sip:+441905331998@h"}, "999", ""},
		{"exact beats prefix", Query{Trunk: "bt", RequestURI: "sip:+441905331101@h"}, "101", ""},
		{"exact beats prefix, and the other way round", Query{Trunk: "bt", RequestURI: "sip:+441905331999@h"}, "999", ""},
		{"the longest prefix wins", Query{Trunk: "vodafone", RequestURI: "sip:+441905330000@h"}, "101", ""},
		{"else the shorter one", Query{Trunk: "vodafone", RequestURI: "sip:+441905390000@h"}, "switchboard", ""},
		{"a route that lists other trunks is closed", Query{Trunk: "bt", RequestURI: "sip:+441905390000@h"}, "999", "2"},
		{"the bare star takes the rest", Query{Trunk: "vodafone", RequestURI: "sip:123@h"}, "switchboard", ""},
		{"the bare star is no disagreement", Query{Trunk: "vodafone", RequestURI: "sip:123@h", To: "sip:+441905331998@h"}, "aid", "a"},
		{"unrouted from a carrier is an emergency, second line", Query{Trunk: "bt", RequestURI: "sip:0000@h", To: "sip:0000@h"}, "999", "2"},
		{"no number at all is one, too", Query{Trunk: "bt", RequestURI: "sip:h", To: "sip:h"}, "999", "2"},
		{"a test call where a route has it", Query{Trunk: "bt", RequestURI: "urn:service:test.sos.police"}, "test", ""},
		{"a test call that no route has", Query{Trunk: "bt", RequestURI: "urn:service:test.sos.fire"}, "999", "2"},
		{"the aid route", Query{Trunk: "bt", RequestURI: "sip:+441905331998@h"}, "aid", "a"},
		{"an aid trunk", Query{Trunk: "from-warks", RequestURI: "sip:999@h"}, "999", "a"},
		{"an aid trunk with a number on no route", Query{Trunk: "from-warks", RequestURI: "sip:0000@h"}, "999", "2a"},
		{"our marker", Query{Trunk: "bt", RequestURI: "sip:999@h", Marked: true}, "999", "a"},
		{"a PBX calls out", Query{Trunk: "desks", RequestURI: "sip:+441905123456@h"}, "desks", ""},
		{"a PBX that dials 999 does not ring our own desk", Query{Trunk: "desks", RequestURI: "sip:999@h", To: "sip:999@h"}, "desks", ""},
		{"a PBX that calls back one of our numbers does not ring our own desk", Query{Trunk: "desks", RequestURI: "sip:101@h"}, "desks", ""},
		{"a PBX on a route that lists it", Query{Trunk: "alarms", RequestURI: "sip:9999@h"}, "desk-emergency", ""},
		{"a PBX without out list", Query{Trunk: "alarms", RequestURI: "sip:999@h"}, "", ""},
		{"a stranger with an emergency number, whichever trunk it was for", Query{Trunk: "", RequestURI: "sip:999@h"}, "999", ""},
		{"a stranger with any other number", Query{Trunk: "", RequestURI: "sip:101@h"}, "", ""},
	} {
		m := p.Match(tt.q)
		flags := ""
		if m.SecondLine {
			flags += "2"
		}
		if m.Aid {
			flags += "a"
		}
		if m.Route.Name != tt.route || m.Found != (tt.route != "") || flags != tt.flags {
			t.Errorf("%s: Match(%+v) = route %q, found %t, flags %q; want %q, flags %q (%s)", tt.why, tt.q, m.Route.Name, m.Found, flags, tt.route, tt.flags, m.Why)
		}
		if m.Why == "" {
			t.Errorf("%s: Match(%+v) does not say why", tt.why, tt.q)
		}
	}
}

func TestMatchPrefersTheRouteThatListsTheTrunkThenTheEmergency(t *testing.T) {
	p := New(Config{
		Trunks: []Trunk{{Name: "a"}, {Name: "b"}},
		Routes: []Route{
			{Name: "all-routine", Class: Routine, Numbers: []string{"1"}},
			{Name: "all-emergency", Class: Emergency, Numbers: []string{"1"}},
			{Name: "a-routine", Class: Routine, Trunks: []TrunkName{"a"}, Numbers: []string{"1"}},
		},
	})
	if got, want := p.Match(Query{Trunk: "a", RequestURI: "sip:1@h"}).Route.Name, RouteName("a-routine"); got != want {
		t.Errorf("of two routes with the same number got %q, want %q, which lists the trunk", got, want)
	}
	if got, want := p.Match(Query{Trunk: "b", RequestURI: "sip:1@h"}).Route.Name, RouteName("all-emergency"); got != want {
		t.Errorf("of two routes for every trunk got %q, want %q", got, want)
	}
}

func TestUnroutedCallsAvoidRoutesThatAskNoPartners(t *testing.T) {
	p := New(Config{
		Trunks: []Trunk{{Name: "bt"}},
		Routes: []Route{
			{Name: "aid", Class: Emergency, Aid: true, Numbers: []string{"1"}},
			{Name: "others", Class: Emergency, Trunks: []TrunkName{"x"}, Numbers: []string{"2"}},
			{Name: "ours", Class: Emergency, Numbers: []string{"3"}},
		},
	})
	if got := p.Match(Query{Trunk: "bt", RequestURI: "sip:9@h"}); got.Route.Name != "ours" || !got.SecondLine {
		t.Errorf("an unrouted call went to route %q, second line %t; want the first emergency route that is open to the trunk", got.Route.Name, got.SecondLine)
	}
	p = New(Config{Trunks: []Trunk{{Name: "bt"}}, Routes: []Route{{Name: "aid", Class: Emergency, Aid: true, Numbers: []string{"1"}}}})
	if got := p.Match(Query{Trunk: "bt", RequestURI: "sip:9@h"}); got.Route.Name != "aid" {
		t.Errorf("an unrouted call went to route %q, want the only emergency route there is", got.Route.Name)
	}
}

func TestMatchSaysWhyInPlainWords(t *testing.T) {
	p := New(county())
	for _, tt := range []struct {
		q    Query
		want string
	}{
		{Query{Trunk: "bt", RequestURI: "sip:999@h"}, "999 in the Request-URI is on route 999"},
		{
			Query{Trunk: "bt", RequestURI: "sip:101@h", To: "sip:112@h"},
			"112 in the To is on route 999, although 101 in the Request-URI is on route 101: emergency wins",
		},
		{Query{Trunk: "bt", RequestURI: "sip:55@h"}, `"55" from bt is on no route: treated as an emergency on route 999, second line`},
		{Query{Trunk: "alarms", RequestURI: "sip:55@h"}, `"55" is on no route that lists alarms, which has no out list`},
		{Query{Trunk: "from-warks", RequestURI: "sip:999@h"}, "999 in the Request-URI is on route 999; mutual aid, because trunk from-warks is another force's"},
	} {
		if got := p.Match(tt.q).Why; got != tt.want {
			t.Errorf("Match(%+v) says\n got %s\nwant %s", tt.q, got, tt.want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	p := New(county())
	q := Query{Trunk: "bt", RequestURI: "sip:+441905331999@203.0.113.10:5060;user=phone", To: "sip:+441905331999@203.0.113.10"}
	b.ReportAllocs()
	for b.Loop() {
		if m := p.Match(q); !m.Found {
			b.Fatal("not found")
		}
	}
}
