package policy

import "testing"

func TestNumberReadsEveryFormOfACalledNumber(t *testing.T) {
	for _, tt := range []struct{ why, uri, want string }{
		{"a plain SIP URI", "sip:999@nines.example", "999"},
		{"a secure one, in capitals", "SIPS:999@nines.example", "999"},
		{"parameters of the URI are not the number", "sip:+441905331999@h;user=phone;transport=tcp", "+441905331999"},
		{"parameters of the user part are not the number", "sip:999;phone-context=+44@h;user=phone", "999"},
		{"headers of the URI are not the number", "sip:999@h?Subject=a%40b", "999"},
		{"a password is not the number", "sip:999:secret@h", "999"},
		{"a tel URI", "tel:+44-1905-331-999", "+441905331999"},
		{"phone-context is no prefix", "tel:1905331999;phone-context=+44", "1905331999"},
		{"separators of every kind", "tel:+44.(1905)-331%20999", "+441905331999"},
		{"separators in a user part", "sip:+44-1905-331999@h;user=phone", "+441905331999"},
		{"an escaped plus", "sip:%2B441905331999@h", "+441905331999"},
		{"everything escaped", "sip:%39%39%39@h", "999"},
		{"a broken escape stays", "sip:99%9@h", "99%9"},
		{"an escape at the very end stays", "sip:999%@h", "999%"},
		{"a service URN, in capitals", "URN:SERVICE:SOS.Police", "urn:service:sos.police"},
		{"a URN with a parameter", "urn:service:sos;x=1", "urn:service:sos"},
		{"a URN in a user part", "sip:urn%3Aservice%3Asos@psap.example", "urn:service:sos"},
		{"a URN in a user part that nobody escaped", "sip:urn:service:sos@psap.example", "urn:service:sos"},
		{"a name keeps its dot", "sip:control.room@h", "control.room"},
		{"a name keeps its case", "sip:Control@h", "Control"},
		{"a star code", "sip:*31*999@h", "*31*999"},
		{"a host is no number", "sip:10.0.0.1:5060", ""},
		{"a host name is no number", "sip:nines.example;lr", ""},
		{"a host that is all digits is somebody who calls it", "sip:999", "999"},
		{"the same with a parameter", "sip:999;user=phone", "999"},
		{"angle brackets that slipped through", "<sip:999@h>", "999"},
		{"a bare number, as in a configuration", "+44 1905 331999", "+441905331999"},
		{"nothing", "", ""},
	} {
		if got := Number(tt.uri); got != tt.want {
			t.Errorf("%s: Number(%q) = %q, want %q", tt.why, tt.uri, got, tt.want)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"sip:999@h", "tel:+44-1905;x", "urn:service:sos", "sip:%2", "sip:;@", "sip:999:p@h;x?y", "<>", ":", "%", "sip:+", "urn:\xae"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		n := Number(uri)
		if len(n) > len(uri) {
			t.Errorf("Number(%q) = %q grew", uri, n)
		}
	})
}
