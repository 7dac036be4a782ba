package configs

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDurationsAreReadWithTheirUnit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		err  error
	}{
		{"0", 0, nil},
		{"1s", time.Second, nil},
		{"800ms", 800 * time.Millisecond, nil},
		{"1m30s", 90 * time.Second, nil},
		{"1.5h", 90 * time.Minute, nil},
		{"400d", 400 * day, nil},
		{"1d12h", 36 * time.Hour, nil},
		{"106751d", 106751 * day, nil}, // the most that fits
		{"106752d", 0, errDuration},
		{"106751d24h", 0, errDuration},
		{"2", 0, errNoUnit},
		{"1e3", 0, errNoUnit},
		{"-1s", 0, errNegative},
		{"+1s", 0, errDuration},
		{"1d-1s", 0, errDuration},
		{"d", 0, errDuration},
		{"1d2", 0, errDuration},
		{"12h1d", 0, errDuration},
		{"soon", 0, errDuration},
		{"", 0, errDuration},
	} {
		got, err := parseDuration(tt.text)
		if got != tt.want || err != tt.err { //nolint:errorlint // sentinels of our own, never wrapped
			t.Errorf("%q is read as %s (%v), want %s (%v)", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestDurationsAreSaidInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0 s",
		800 * time.Millisecond:  "800 ms",
		time.Second:             "1 s",
		time.Minute:             "60 s",
		90 * time.Second:        "90 s",
		2 * time.Minute:         "2 min",
		150 * time.Second:       "2m30s",
		time.Hour:               "1 h",
		day:                     "1 day",
		400 * day:               "400 days",
		1500 * time.Millisecond: "1.5s",
	} {
		if got := words(d); got != want {
			t.Errorf("%v is said as %q, want %q", d, got, want)
		}
	}
}

func TestSuggestionsAreWhatWasProbablyMeant(t *testing.T) {
	names := []string{"control-room", "standby-room", "north", "warwickshire", "bt"}
	for written, want := range map[string]string{
		"soth":          "north",
		"contol-room":   "control-room",
		"control":       "control-room",
		"Control-Room":  "control-room",
		"stnadby-room":  "standby-room",
		"warwikshire":   "warwickshire",
		"tb":            "bt",
		"leicester":     "",
		"x":             "",
		"zzzzzzzzzzzzz": "",
		"":              "",
	} {
		if got := suggest(written, names); got != want {
			t.Errorf("for %q the suggestion is %q, want %q", written, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"kitten", "sitting", 3},
		{"überfall", "uberfall", 1},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("from %q to %q it is %d changes, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestURIsAreTakenApart(t *testing.T) {
	for _, tt := range []struct {
		text string
		want URI
	}{
		{"sip:10.0.0.10", URI{Scheme: "sip", Host: "10.0.0.10"}},
		{"SIP:10.0.0.10:5070;Transport=TCP", URI{Scheme: "sip", Host: "10.0.0.10", Port: 5070, Transport: TCP}},
		{"sip:[2001:db8::1]", URI{Scheme: "sip", Host: "2001:db8::1"}},
		{"sip:[2001:db8::1]:5070;lr;transport=udp", URI{Scheme: "sip", Host: "2001:db8::1", Port: 5070, Transport: UDP}},
		{"sips:pbx.warks.example", URI{Scheme: "sips", Host: "pbx.warks.example", Transport: TLSOverTCP}},
		{"sips:pbx.warks.example;transport=tcp", URI{Scheme: "sips", Host: "pbx.warks.example", Transport: TLSOverTCP}},
		{"sip:+44190533;ext=1@pbx:5060;user=phone", URI{Scheme: "sip", User: "+44190533;ext=1", Host: "pbx", Port: 5060}},
		{"sip:a%20b@_sip._udp.example.", URI{Scheme: "sip", User: "a%20b", Host: "_sip._udp.example."}},
	} {
		tt.want.Raw = tt.text
		got, err := parseURI(tt.text)
		if err != nil {
			t.Errorf("%s is refused: it %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s is read as (- got, + want):\n%s", tt.text, diff)
		}
	}
}

func TestURIsThatLeadNowhereAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "is no sip or sips URI",
		"10.0.0.10:5060":                 "is no sip or sips URI",
		"tel:+441905331999":              "is no sip or sips URI",
		"sip:":                           `has no valid host: ""`,
		"sip:@host":                      `has no valid user: ""`,
		"sip:a@b@host":                   `has no valid user: "a@b"`,
		"sip:host:":                      `has no valid port: ""`,
		"sip:host:0":                     `has no valid port: "0"`,
		"sip:host:+5":                    `has no valid port: "+5"`,
		"sip:[2001:db8::1":               `has no valid host: "[2001:db8::1"`,
		"sip:[10.0.0.1]":                 `has no valid host: "[10.0.0.1]"`,
		"sip:[::1]5060":                  `has no valid host: "[::1]5060"`,
		"sip:[::]":                       "leads to no machine: ::",
		"sip:224.0.0.1":                  "leads to no machine: 224.0.0.1",
		"sip:-host":                      `has no valid host: "-host"`,
		"sip:1.2.3":                      `has no valid host: "1.2.3"`,
		"sip:host;transport=":            `has a transport we don't speak: ""`,
		"sips:host;transport=udp":        "is sips, which UDP can't carry",
		"sip:host name":                  "has blanks, quotes or angle brackets in it",
		"sip:100%@host":                  `has no valid user: "100%"`,
		"sip:host?Replaces=x":            "has headers (?) in it",
		"sip:user:password@host":         "has a password in it",
		"sip:host;maddr=1;transport=ws":  `has a transport we don't speak: "ws"`,
		"sip:host;transport=tls-sctp;lr": `has a transport we don't speak: "tls-sctp"`,
	} {
		_, err := parseURI(text)
		if err == nil || err.Error() != want {
			t.Errorf("of %q it is said that it %v, want that it %s", text, err, want)
		}
	}
}

func TestPairsStartAtAnEvenPort(t *testing.T) {
	for _, tt := range []struct {
		min, max uint16
		want     int
	}{
		{20000, 29999, 5000},
		{20000, 20001, 1},
		{20001, 20002, 0},
		{20001, 20003, 1},
		{20000, 20002, 1},
		{1024, 65535, 32256},
	} {
		if got := (Media{PortMin: tt.min, PortMax: tt.max}).Pairs(); got != tt.want {
			t.Errorf("ports %d-%d are %d pairs, want %d", tt.min, tt.max, got, tt.want)
		}
	}
}
