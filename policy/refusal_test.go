package policy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nines/health"
)

func TestRefusalTable(t *testing.T) {
	for _, tt := range []struct {
		code      int
		emergency Meaning
		routine   Meaning
		why       string
	}{
		{302, Next, Next, "a redirect that is not followed"},
		{400, Next, Next, "our own request, misunderstood"},
		{401, Next, Next, "a challenge we do not answer"},
		{403, Next, Next, "its wrong configuration"},
		{404, Next, End, "the number does not exist; on an emergency the buddy's number is wrong"},
		{408, Next, Next, "its own timeout"},
		{410, Next, Next, "moved away"},
		{480, Next, Next, "nobody there: somebody may be elsewhere"},
		{481, Next, Next, "a confused dialog"},
		{484, Next, End, "the number is too short"},
		{486, Next, End, "busy"},
		{487, Next, Next, "cancelled"},
		{488, Next, Next, "our offer"},
		{500, Next, Next, "broken"},
		{502, Next, Next, "broken behind it"},
		{503, Next, Next, "RFC 3263 §4.3"},
		{504, Next, Next, "its server does not answer"},
		{580, Next, Next, "preconditions"},
		{600, Next, End, "busy everywhere; a PBX does not know of everywhere"},
		{603, Next, End, "a Decline must not end a 999 call"},
		{604, Next, Next, "does not exist anywhere"},
		{606, Next, Next, "our offer"},
	} {
		if got := Means(Emergency, tt.code); got != tt.emergency {
			t.Errorf("%d on an emergency call (%s) means %d, want %d", tt.code, tt.why, got, tt.emergency)
		}
		for _, c := range []Class{Routine, Test} {
			if got := Means(c, tt.code); got != tt.routine {
				t.Errorf("%d on a %s call (%s) means %d, want %d", tt.code, c, tt.why, got, tt.routine)
			}
		}
	}
}

func TestFinalCodeTellsRoutineCallersMostAndEmergencyCarriers500(t *testing.T) {
	for _, tt := range []struct {
		class Class
		codes []int
		want  int
		why   string
	}{
		{Emergency, nil, 500, "the carrier's own fallback fires"},
		{Emergency, []int{486, 603, 404}, 500, "whatever was said"},
		{Routine, nil, 500, "nobody said anything"},
		{Routine, []int{503, 503}, 500, "never 503: the carrier would send no more calls"},
		{Routine, []int{480, 503}, 480, "a 480 says more than a failure"},
		{Routine, []int{503, 486}, 486, "busy"},
		{Routine, []int{480, 600}, 486, "no 600: only this room is busy"},
		{Routine, []int{603}, 603, "somebody declined"},
		{Routine, []int{480, 404}, 404, "what ended the asking counts"},
		{Routine, []int{484, 480}, 484, "also when another attempt ended later"},
		{Routine, []int{606, 604, 600 + 7}, 500, "never another 6xx"},
		{Test, []int{486}, 486, "a test call is told that the room is busy (RFC 6881 §15)"},
	} {
		code, text := FinalCode(tt.class, tt.codes)
		if code != tt.want || text == "" {
			t.Errorf("%s call after %v gets %d %q, want %d: %s", tt.class, tt.codes, code, text, tt.want, tt.why)
		}
	}
}

func TestPropertyNoCallerEverHears503(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		class := Class(rapid.IntRange(0, 2).Draw(t, "class"))
		codes := rapid.SliceOf(rapid.IntRange(300, 699)).Draw(t, "codes")
		code, _ := FinalCode(class, codes)
		switch {
		case class == Emergency && code != 500:
			t.Errorf("an emergency call ended with %d, want 500 (R4)", code)
		case code == 503, code >= 600 && code != 603:
			t.Errorf("a %s call ended with %d", class, code)
		}
	})
}

func TestEvidenceOfACallsResponse(t *testing.T) {
	for _, tt := range []struct {
		code int
		want health.CallOutcome
		ok   bool
		why  string
	}{
		{100, 0, false, "only its front door spoke"},
		{180, health.CallRang, true, "it rings"},
		{183, health.CallRang, true, "it makes a sound"},
		{200, health.CallAnswered, true, "it answered"},
		{302, 0, false, "it redirected"},
		{404, 0, false, "the number is to blame"},
		{408, health.CallFailed, true, "its own timeout"},
		{480, health.CallBusy, true, "full for 5 s"},
		{484, 0, false, "the number is to blame"},
		{486, health.CallBusy, true, "full for 5 s"},
		{487, 0, false, "our CANCEL"},
		{488, 0, false, "the offer is to blame"},
		{500, health.CallFailed, true, "broken"},
		{503, health.CallFailed, true, "broken"},
		{600, health.CallBusy, true, "full for 5 s"},
		{603, 0, false, "a person declined"},
		{606, 0, false, "the offer is to blame"},
	} {
		got, ok := Evidence(tt.code)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Evidence(%d) = %s, %t; want %s, %t: %s", tt.code, got, ok, tt.want, tt.ok, tt.why)
		}
	}
}

func TestExplainSaysWhoIsAskedWhenAndWhy(t *testing.T) {
	cfg := county()
	for i := range cfg.Routes {
		cfg.Routes[i].Overlap = true
	}
	p := New(cfg)
	view := View{MaxForwards: 70, State: func(n EndpointName) State {
		if n == "north" {
			return State{Verdict: health.Down, Words: "down since 14:02:11: 3 probes missed, the last silent"}
		}
		return State{Verdict: health.Up}
	}}
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:999@h"})
	got := strings.Join(Explain(m, p.Plan(m, view)), "\n")
	want := `999 in the Request-URI is on route 999 (emergency)
1. south (up): warks is asked as well after 1s of silence or 4s with only a 100, at once if it refuses
2. warks, a partner (up): staffs is asked as well after 1s of silence or 4s with only a 100, at once if it refuses
3. staffs, a partner (up): north is asked as well after 1s of silence or 4s with only a 100, at once if it refuses
4. north (down since 14:02:11: 3 probes missed, the last silent)
500 to bt if all refuse, or if nothing rings for 20s`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	m = p.Match(Query{Trunk: "alarms", RequestURI: "sip:1@h"})
	if got, want := strings.Join(Explain(m, Plan{}), "\n"), `"1" is on no route that lists alarms, which has no out list: refused with 404`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWordsOfClassesRoundTrip(t *testing.T) {
	for _, c := range []Class{Emergency, Routine, Test} {
		text, _ := c.MarshalText()
		var back Class = 99
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%s came back as %s, %v", c, back, err)
		}
	}
	var c Class
	if err := c.UnmarshalText([]byte("urgent")); err == nil {
		t.Error("a class that does not exist was read")
	}
}
