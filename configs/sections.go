package configs

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// most is the upper bound of counts that have no better one.
const most = 1_000_000

func (r *reader) root(v value, f *File) {
	r.fields(v, map[string]func(value){
		"name":            r.title(&f.Name),
		"listen":          func(v value) { r.listen(v, f) },
		"advertise":       r.host(&f.Advertise),
		"tls":             func(v value) { r.tls(v, &f.TLS) },
		"media":           func(v value) { r.media(v, &f.Media) },
		"state":           r.path(&f.State),
		"run":             r.path(&f.Run),
		"unknown_sources": oneOf(r, &f.UnknownSources, Drop, AnswerEmergency),
		"trunks":          func(v value) { r.trunks(v, f) },
		"endpoints":       func(v value) { r.endpoints(v, f) },
		"routes":          func(v value) { r.routes(v, f) },
		"announcements":   func(v value) { r.announcements(v, f) },
		"health":          func(v value) { r.health(v, &f.Health) },
		"journal":         func(v value) { r.journal(v, &f.Journal) },
		"callbacks":       func(v value) { r.callBacks(v, &f.CallBacks) },
		"hep":             func(v value) { r.hep(v, &f.HEP) },
		"console":         func(v value) { r.console(v, &f.Console) },
		"notify":          func(v value) { r.notify(v, f) },
		"public":          func(v value) { r.public(v, &f.Public) },
	})
}

func (r *reader) listen(v value, f *File) {
	if !isMapping(v) {
		r.listeners(&f.Listen)(v)
		return
	}
	sides, _ := r.entries(v)
	for _, e := range sides {
		r.goodName(e.path, e.key)
		s := Side{Name: e.key}
		r.fields(e.value, map[string]func(value){
			"on":        r.listeners(&s.On),
			"advertise": r.host(&s.Advertise),
			"media":     r.oneAddress(&s.Media),
		})
		f.Sides = append(f.Sides, s)
	}
}

func (r *reader) oneAddress(to *netip.Addr) func(value) {
	return func(v value) {
		if a, ok := r.address(v); ok {
			*to = a
		}
	}
}

func (r *reader) tls(v value, t *TLS) {
	r.fields(v, map[string]func(value){
		"certificate": r.path(&t.Certificate),
		"key":         r.path(&t.Key),
		"client_ca":   r.path(&t.ClientCA),
	})
}

func (r *reader) media(v value, m *Media) {
	r.fields(v, map[string]func(value){
		"address":   r.addresses(&m.Addresses),
		"ports":     r.ports(&m.PortMin, &m.PortMax),
		"fast_path": oneOf(r, &m.FastPath, FastPathAuto, FastPathOff, FastPathRequire),
	})
}

func (r *reader) trunks(v value, f *File) {
	entries, _ := r.entries(v)
	for _, e := range entries {
		r.goodName(e.path, e.key)
		t := defaultTrunk(e.key)
		r.fields(e.value, map[string]func(value){
			"kind":      oneOf(r, &t.Kind, Carrier, PBX, Aid),
			"from":      r.networks(&t.From),
			"out":       r.names(&t.Out),
			"give_up":   r.length(&t.GiveUp),
			"options":   oneOf(r, &t.Options, Serving, Truthful),
			"symmetric": r.flag(&t.Symmetric),
			"via":       r.word(&t.Via),
		})
		if t.GiveUp == 0 {
			t.GiveUp = t.Kind.giveUp()
		}
		f.Trunks = append(f.Trunks, t)
	}
}

func (r *reader) endpoints(v value, f *File) {
	entries, _ := r.entries(v)
	for _, e := range entries {
		r.goodName(e.path, e.key)
		p := defaultEndpoint(e.key)
		r.fields(e.value, map[string]func(value){
			"uri":         r.uri(&p.URI),
			"calls":       r.count(&p.Calls, 1, most),
			"reserve":     r.count(&p.Reserve, 0, most),
			"answers":     oneOf(r, &p.Answers, Person, Queue),
			"media_from":  r.networks(&p.MediaFrom),
			"addresses":   r.addresses(&p.Addresses),
			"partner":     r.flag(&p.Partner),
			"require_tls": r.flag(&p.RequireTLS),
			"follow_3xx":  r.flag(&p.Follow3xx),
			"symmetric":   r.flag(&p.Symmetric),
			"via":         r.word(&p.Via),
		})
		f.Endpoints = append(f.Endpoints, p)
	}
}

func (r *reader) uri(to *URI) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		u, err := parseURI(s)
		if err != nil {
			r.wrong(v.path, fmt.Sprintf("%q %s", s, err), "use one such as sip:10.0.0.10:5060;transport=tcp")
			return
		}
		*to = u
	}
}

func (r *reader) routes(v value, f *File) {
	items, _ := r.list(v)
	for _, item := range items {
		f.Routes = append(f.Routes, r.route(item))
	}
}

func (r *reader) route(v value) Route {
	t := defaultRoute()
	r.fields(v, map[string]func(value){
		"name":                 r.title(&t.Name),
		"class":                oneOf(r, &t.Class, Emergency, Routine, Test),
		"aid":                  r.flag(&t.Aid),
		"trunks":               r.names(&t.Trunks),
		"numbers":              r.numbers(&t.Numbers),
		"ask":                  r.ask(&t.Ask),
		"patience":             r.length(&t.Patience),
		"progress":             r.length(&t.Progress),
		"ringing":              r.lengthOrNever(&t.Ringing),
		"ringing_to_partners":  r.lengthOrNever(&t.RingingToPartners),
		"overlap":              r.flag(&t.Overlap),
		"overflow_to_partners": r.flag(&t.Overflow),
		"early_media":          oneOf(r, &t.EarlyMedia, NoEarlyMedia, FirstEarlyMedia),
		"rescue":               r.flag(&t.Rescue),
		"rescue_bye":           oneOf(r, &t.RescueBye, NeverRescueBye, SuspiciousRescueBye),
		"hearing":              oneOf(r, &t.Hearing, HearNothing, HearComfort, HearHoldTheLine),
		"otherwise":            r.otherwise(&t.Otherwise),
		"shed":                 r.shed(&t.Shed),
		"relay":                r.word(&t.Relay),
	})
	return t
}

var (
	// numberForm is a number or a user part, exact or ending in *.
	numberForm = regexp.MustCompile(`^[0-9A-Za-z+#._-]*\*?$`)
	// urnForm is a service URN (RFC 5031), exact or ending in *.
	urnForm = regexp.MustCompile(`^urn:service:[a-z0-9.-]+\*?$`)
	// writtenForm is a telephone number with the marks that people put between digits (RFC 3966 §5.1.1: visual separators), and blanks.
	writtenForm = regexp.MustCompile(`^\+?[0-9 ().-]+\*?$`)

	separators = strings.NewReplacer(" ", "", "(", "", ")", "", ".", "", "-", "")
)

func (r *reader) numbers(to *[]string) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			if n, ok := r.number(item); ok {
				*to = append(*to, n)
			}
		}
	}
}

func (r *reader) number(v value) (string, bool) {
	s, ok := r.text(v)
	if !ok {
		return "", false
	}
	lower := strings.ToLower(s)
	switch {
	case strings.HasPrefix(lower, "urn:"):
		if urnForm.MatchString(lower) {
			return lower, true
		}
		r.wrong(v.path, fmt.Sprintf("%q is no service URN", s), "use one such as urn:service:sos, or urn:service:sos* for all below it")
		return "", false
	case strings.HasPrefix(lower, "sip:"), strings.HasPrefix(lower, "sips:"), strings.HasPrefix(lower, "tel:"):
		_, rest, _ := strings.Cut(s, ":")
		number, _, _ := strings.Cut(rest, "@")
		r.wrong(v.path, fmt.Sprintf("%q is a URI", s), fmt.Sprintf("write the number alone: %q", number))
		return "", false
	}
	if writtenForm.MatchString(s) {
		s = separators.Replace(s)
	}
	if strings.Contains(strings.TrimSuffix(s, "*"), "*") {
		r.wrong(v.path, fmt.Sprintf("%q has a * in the middle", s), "a number is exact, or ends in *")
		return "", false
	}
	if !numberForm.MatchString(s) || s == "" {
		r.wrong(v.path, fmt.Sprintf("%q is no number", s), "a number is exact, or ends in *; or urn:service:…")
		return "", false
	}
	return s, true
}

// ask reads a list of names and of lists of names.
func (r *reader) ask(to *[][]string) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			var step []string
			if isList(item) {
				r.names(&step)(item)
			} else if s, ok := r.text(item); ok {
				step = []string{s}
			}
			if len(step) > 0 {
				*to = append(*to, step)
			} else if isList(item) {
				r.wrong(item.path, "this list is empty", "name the endpoints that share here")
			}
		}
	}
}

func (r *reader) otherwise(to *[]Step) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			*to = append(*to, r.step(item))
		}
	}
}

func (r *reader) step(v value) Step {
	var s Step
	r.fields(v, map[string]func(value){
		"wait":     r.length(&s.Wait),
		"announce": r.word(&s.Announce),
		"escape": func(v value) {
			s.Escape = &Escape{}
			r.fields(v, map[string]func(value){
				"digit": r.digit(&s.Escape.Digit),
				"to":    r.word(&s.Escape.To),
			})
		},
		"divert": r.names(&s.Divert),
		"cap":    r.count(&s.Cap, 1, most),
		"reject": r.code(&s.Reject),
	})
	return s
}

func (r *reader) digit(to *string) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		if len(s) != 1 || !strings.Contains("0123456789*#", s) {
			r.wrong(v.path, fmt.Sprintf("%q is no key of a telephone", s), "use one of 0 to 9, * and #")
			return
		}
		*to = s
	}
}

// code reads the refusal a routine caller gets. 503 is not among them: an upstream may then send us nothing at all, the next 999 included (R4, R24).
func (r *reader) code(to *int) func(value) {
	return func(v value) {
		switch s, ok := r.text(v); {
		case !ok:
		case s == "480":
			*to = 480
		case s == "486":
			*to = 486
		case s == "600":
			*to = 600
		default:
			r.wrong(v.path, fmt.Sprintf("%q is not possible here", s), "use 480, 486 or 600")
		}
	}
}

func (r *reader) shed(to **Shed) func(value) {
	return func(v value) {
		s := defaultShed()
		r.fields(v, map[string]func(value){
			"when": func(v value) {
				r.fields(v, map[string]func(value){
					"emergency_waiting": r.count(&s.When, 1, most),
					"partner_slots":     r.count(&s.WhenSlots, 0, most),
				})
			},
			"until": func(v value) {
				r.fields(v, map[string]func(value){
					"emergency_waiting": r.count(&s.Until, 0, most),
					"partner_slots":     r.count(&s.UntilSlots, 1, most),
					"for":               r.lengthOrNone(&s.For),
				})
			},
			"announce": r.word(&s.Announce),
		})
		if s.UntilSlots < 0 {
			s.UntilSlots = s.WhenSlots + 1
		}
		*to = s
	}
}

func (r *reader) announcements(v value, f *File) {
	entries, _ := r.entries(v)
	for _, e := range entries {
		r.goodName(e.path, e.key)
		a := Announcement{Name: e.key, Answer: Final, Times: defaultTimes}
		r.fields(e.value, map[string]func(value){
			"files": func(v value) {
				r.names(&a.Files)(v)
				for i, name := range a.Files {
					a.Files[i] = r.resolve(name)
				}
			},
			"answer":  oneOf(r, &a.Answer, Final, Early),
			"expires": r.date(&a.Expires),
			"times":   r.count(&a.Times, 1, 100),
		})
		f.Announcements = append(f.Announcements, a)
	}
}

func (r *reader) health(v value, h *Health) {
	r.fields(v, map[string]func(value){
		"every":          r.length(&h.Every),
		"partners_every": r.length(&h.PartnersEvery),
		"timeout":        r.length(&h.Timeout),
		"down_after":     r.count(&h.DownAfter, 1, 1000),
		"up_after":       r.count(&h.UpAfter, 1, 1000),
		"hold_down":      r.lengthOrNone(&h.HoldDown),
		"media_gap":      r.length(&h.MediaGap),
		"fail_back":      oneOf(r, &h.FailBack, FailBackAuto, FailBackProbes, FailBackManual),
	})
}

func (r *reader) journal(v value, j *Journal) {
	r.fields(v, map[string]func(value){
		"path":          r.word(&j.Path),
		"keep":          r.length(&j.Keep),
		"keep_messages": r.length(&j.KeepMessages),
		"messages":      oneOf(r, &j.Messages, NoMessages, EmergencyMessages, AllMessages),
		"sign_key":      r.word(&j.SignKey),
		"keep_size":     r.size(&j.KeepSize),
		"also":          func(v value) { r.also(v, j) },
	})
}

func (r *reader) also(v value, j *Journal) {
	items, _ := r.list(v)
	for _, item := range items {
		var a Also
		r.fields(item, map[string]func(value){
			"file": r.word(&a.File),
			"i3":   r.web(&a.I3),
		})
		j.Also = append(j.Also, a)
	}
}

var sizes = map[string]int64{"MB": 1e6, "GB": 1e9, "TB": 1e12}

// size reads a number of bytes.
func (r *reader) size(to *int64) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		for unit, bytes := range sizes {
			if digits, is := strings.CutSuffix(s, unit); is {
				n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
				if err == nil && n > 0 && n*bytes >= minKeepSize && n <= most {
					*to = n * bytes
					return
				}
			}
		}
		r.wrong(v.path, fmt.Sprintf("%q is no size for the book", s), "write a number with its unit: 100MB at least, 20GB, 1TB")
	}
}

const minKeepSize = 100e6

func (r *reader) callBacks(v value, c *CallBacks) {
	r.fields(v, map[string]func(value){
		"keep": r.length(&c.Keep),
		"mask": oneOf(r, &c.Mask, MaskNone, MaskCleared),
	})
}

func (r *reader) hep(v value, h *HEP) {
	r.fields(v, map[string]func(value){
		"to":       r.link(&h.To, "udp://host:9060", "udp"),
		"id":       r.count(&h.ID, 1, 1<<31-1),
		"password": r.word(&h.Password),
	})
}

func (r *reader) console(v value, c *Console) {
	r.fields(v, map[string]func(value){
		"listen":      r.addrPort(&c.Listen),
		"tokens_file": r.path(&c.TokensFile),
	})
}

func (r *reader) addrPort(to *netip.AddrPort) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			r.wrong(v.path, fmt.Sprintf("%q is no address with a port", s), "use one such as 127.0.0.1:8080 or [::1]:8080")
			return
		}
		*to = a
	}
}

func (r *reader) notify(v value, f *File) {
	items, _ := r.list(v)
	for _, item := range items {
		n := Notification{Every: time.Minute, Repeat: 5 * time.Minute, Severity: UrgencyInfo}
		r.fields(item, map[string]func(value){
			"webhook":     r.web(&n.Webhook),
			"secret_file": r.path(&n.SecretFile),
			"headers":     r.headers(&n.Headers),
			"mail":        r.mail(&n.Mail),
			"smtp":        r.link(&n.SMTP, "smtp://host:25 or smtps://host:465", "smtp", "smtps"),
			"from":        r.mail(&n.From),
			"auth_file":   r.path(&n.AuthFile),
			"heartbeat":   r.web(&n.Heartbeat),
			"every":       r.length(&n.Every),
			"ca":          r.path(&n.CA),
			"repeat":      r.length(&n.Repeat),
			"severity":    oneOf(r, &n.Severity, UrgencyInfo, UrgencyWarning, UrgencyCritical),
			"rooms":       r.names(&n.Rooms),
		})
		f.Notify = append(f.Notify, n)
	}
}

var mailForm = regexp.MustCompile(`^[^\s@<>"]+@[^\s@<>"]+$`)

func (r *reader) mail(to *string) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		if !mailForm.MatchString(s) {
			r.wrong(v.path, fmt.Sprintf("%q is no mail address", s), "use one such as ops@force.example")
			return
		}
		*to = s
	}
}

var headerForm = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

func (r *reader) headers(to *[]Header) func(value) {
	return func(v value) {
		entries, _ := r.entries(v)
		for _, e := range entries {
			text, ok := r.text(e.value)
			switch {
			case !ok:
			case !headerForm.MatchString(e.key):
				r.wrong(e.path, fmt.Sprintf("%q is no header", e.key), "use one such as Authorization")
			case strings.ContainsFunc(text, unicode.IsControl):
				r.wrong(e.path, "a header has no line breaks and no tabs", "write its value on one line")
			default:
				*to = append(*to, Header{e.key, text})
			}
		}
	}
}

func (r *reader) public(v value, p *Public) {
	r.fields(v, map[string]func(value){
		"name":        r.word(&p.Name),
		"name_cy":     r.word(&p.NameCY),
		"online":      r.web(&p.Online),
		"online_cy":   r.web(&p.OnlineCY),
		"alternative": r.oneNumber(&p.Alternative),
	})
}

func (r *reader) oneNumber(to *string) func(value) {
	return func(v value) {
		if n, ok := r.number(v); ok {
			*to = n
		}
	}
}
