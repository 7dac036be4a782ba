package sip

import (
	"cmp"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"nines/call"
	"nines/media"
	"nines/media/sdp"
	"nines/media/voice"
	"nines/policy"
	"nines/sip/leg"
	"nines/sip/txn"
	"nines/sip/wire"
)

// How a caller is served whom no endpoint has taken: announcements, keys, the line, diversions. Deciding is the call's; this file is its hands.

// The kinds of Record that tell of it, each with the fields it uses besides those that all have.
const (
	CallAnnounced        RecordKind = iota + 64 // the caller begins to hear an announcement: Caller, Called, What its name, Outcome the hashes of what it hears, Took since its INVITE
	CallAnnouncementOver                        // and hears it no more: the same; Took how long it was heard, Why it ended
	CallEscaped                                 // a routine caller goes to a person, an emergency from here on: Caller, Called, What the route, Why
	ShedChanged                                 // load protection has switched a route: Route, What on or off, Why
	TreatEnded                                  // the time is over for which a routine route was treated as emergency: Route, What by whom it was ordered, Why it was
)

// aside is what a session knows of that.
type aside struct {
	playing *media.Playing
	waits   *call.Play // for the ACK that answers our offer; nil: nothing does
	what    call.Play
	sound   sdp.Sound // by which codec, and how keys come
	hash    string    // of the tapes that are played
	began   time.Time // when
	turn    int       // counts what was played, so that the end of one is not taken for that of the next

	key      []byte    // encrypts what we play to a caller who demands it; made when it is needed
	told     []byte    // our own session description, as the caller has it
	answered bool      // in a 200
	since    time.Time // since when a person is looked for, once more

	route    policy.RouteName // in whose line it stands, and with which ticket
	ticket   policy.Ticket
	diverted int // the divert step that it counts for; 0: none
	from     policy.RouteName

	escaped policy.RouteName // the emergency route that it has gone to
	counted bool             // among the emergency calls that wait
}

// heardFew is the share of the media ports that announcements leave to calls: a third (R7).
const heardFew = 3

// playable says whether we have a codec, as an rtpmap names it.
func playable(codec string) bool { return voice.CodecOf(codec) != "" }

// needPlan makes the plan that the call asks for.
func (s *session) needPlan(now time.Time, a call.NeedPlan) {
	switch {
	case a.Person != "":
		s.plan(now)
	case a.Turn:
		s.askTurn(now, a.Step)
	case a.Divert:
		s.divert(now, a.Step)
	default:
		s.plan(now)
	}
}

// rematch finds the route of a call that was answered before, by the configuration that runs now (R21). What has become an emergency stays one.
func (s *session) rematch(now time.Time) {
	s.routing, s.frozen = s.loop.s.routing.Load(), nil
	m := s.routing.policy.Match(s.query(now))
	switch {
	case s.aside.escaped != "" && m.Found:
		s.match = s.routing.policy.Escaped(m, s.aside.escaped)
	case m.Found && (s.machine.Class != policy.Emergency || m.Route.Class == policy.Emergency):
		s.match = m
	}
}

// askTurn says whether it is the turn of a caller who waits, and plans for it (R24).
func (s *session) askTurn(now time.Time, step int) {
	if s.final {
		s.rematch(now)
		s.match.SecondLine = false
	}
	sh := &s.loop.s.shared
	sh.mu.Lock()
	if s.aside.ticket == 0 {
		ticket, ok := sh.slots.Join(now, s.match.Route.Name, s.machine.Aside.Steps[step-1].Cap)
		if !ok {
			sh.mu.Unlock()
			s.feed(now, call.Waits{Why: "the line is full"})
			return
		}
		s.aside.route, s.aside.ticket = s.match.Route.Name, ticket
	}
	v := s.view(now)
	v.Turn = true
	plan := s.routing.policy.Plan(s.match, v)
	var open []policy.EndpointName
	for i := range plan.Steps {
		open = append(open, plan.Steps[i].Endpoint)
	}
	turn := sh.slots.Turn(now, s.aside.route, s.aside.ticket, open)
	sh.mu.Unlock()
	if !turn.OK || len(open) == 0 {
		s.feed(now, call.Waits{Until: turn.Until})
		return
	}
	s.planned(now, plan)
}

// divert plans a step that asks others than the route does, if its cap allows.
func (s *session) divert(now time.Time, step int) {
	o := s.machine.Aside.Steps[step-1]
	sh := &s.loop.s.shared
	sh.mu.Lock()
	var plan policy.Plan
	if s.undivert(); sh.slots.Divert(s.match.Route.Name, step, o.Cap) {
		s.aside.diverted, s.aside.from = step, s.match.Route.Name
		m := s.match
		m.SecondLine = false
		plan = s.routing.policy.Divert(m, o, s.view(now))
	}
	sh.mu.Unlock()
	s.planned(now, plan)
}

// undivert counts the call for no diversion any more. The caller holds the lock.
func (s *session) undivert() {
	if s.aside.diverted != 0 {
		s.loop.s.shared.slots.Undivert(s.aside.from, s.aside.diverted)
		s.aside.diverted = 0
	}
}

// tidyAside gives back what a call does not need any more: its place in the line, its part of a cap, its part of the emergency load.
func (s *session) tidyAside(now time.Time) {
	s.weighs(now)
	leaves := s.aside.ticket != 0 && (s.over || !s.machine.InLine())
	if !leaves && (s.aside.diverted == 0 || !s.over && s.machine.Aside.Step == s.aside.diverted) {
		return
	}
	if !leaves && !s.over && s.winner != nil {
		return // whoever was diverted to has the call
	}
	sh := &s.loop.s.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if leaves {
		sh.slots.LeaveLine(s.aside.route, s.aside.ticket)
		s.aside.ticket = 0
	}
	if s.over || s.winner == nil {
		s.undivert()
	}
}

// escaping makes an emergency of the call (R25).
func (s *session) escaping(now time.Time, a call.Escaping) {
	s.aside.escaped, s.aside.since = a.To, now
	s.record(now, Record{Kind: CallEscaped, Caller: s.number, Called: s.match.Number, What: string(a.To), Why: a.Why})
	if !s.final {
		s.routing = s.loop.s.routing.Load()
		s.match = s.routing.policy.Escaped(s.match, a.To)
	}
	s.loop.s.count.escaped.Add(1)
	s.log.Info().Str("to", string(a.To)).Str("why", a.Why).Msg("a routine caller goes to a person: an emergency from here on")
}

// play has the caller hear something of ours.
func (s *session) play(now time.Time, a call.Play) {
	s.endPlay(now, "another one follows")
	s.found() // of a routine call that was lost: nobody is looked for any more
	tapes := s.loop.s.tapes(a)
	sound, err := s.canHear(now, a, len(tapes) > 0)
	if err == nil {
		err = s.start(now, a, tapes, sound)
	}
	if errors.Is(err, errLater) {
		s.aside.waits = &a
		return
	}
	if err != nil {
		s.loop.s.count.unplayable.Add(1)
		why := "nothing can be played to the caller: " + err.Error()
		s.log.Warn().Str("announcement", string(a.Name)).AnErr("error", err).Msg("an announcement can't be played to a caller")
		s.record(now, Record{Kind: CallNoted, Why: why})
		s.feed(now, call.Unplayable{Why: why})
	}
}

// Why nothing can be played to a caller, besides what sdp says.
var (
	errNoTapes    = errors.New("there is no such text")
	errNoPorts    = errors.New("few media ports are left, and they are kept for calls")
	errNoOffer    = errors.New("its INVITE has no offer, and a 183 is no place for ours")
	errUnpracked  = errors.New("it has not acknowledged our provisional answer")
	errNoAddress  = errors.New("its audio goes past us")
	errTooMany    = errors.New("as many announcements are played as may be")
	errDifference = errors.New("what it was told does not fit what it offers")
)

// errLater says that the ACK of our 200, which was an offer, will say how the caller can be played to.
var errLater = errors.New("its ACK will say how")

// canHear finds out how the caller can be played to, and tells it: by a 200 of ours or by a 183, unless it has an answer already.
func (s *session) canHear(now time.Time, a call.Play, tapes bool) (sdp.Sound, error) {
	switch {
	case !tapes:
		return sdp.Sound{}, errNoTapes
	case s.caller.media == nil:
		return sdp.Sound{}, errNoAddress
	case s.final:
		return sdp.Agreed(s.caller.far, s.aside.told, playable)
	case !s.offer.ok && a.Early:
		return sdp.Sound{}, errNoOffer
	}
	if err := s.mayPlay(); err != nil {
		return sdp.Sound{}, err
	}
	if !s.offer.ok {
		s.aside.told = sdp.Offer(s.caller.leg.SDPID, s.caller.media.Addr())
		return sdp.Sound{}, cmp.Or(s.tell(now), errLater)
	}
	if s.aside.told == nil {
		text, _, err := sdp.Accept(s.offer.text(), s.caller.leg.SDPID, s.caller.media.Addr(), s.sealKey(), playable)
		if err != nil {
			return sdp.Sound{}, err
		}
		s.aside.told = text
	}
	sound, err := sdp.Agreed(s.caller.far, s.aside.told, playable)
	if err != nil && !errors.Is(err, sdp.ErrOnHold) {
		return sdp.Sound{}, errors.Join(errDifference, err)
	}
	if a.Early {
		s.tellEarly(now)
		return sound, nil
	}
	return sound, s.tell(now)
}

// sealKey is the key of what we play to this caller. It stays the same when the caller offers anew: packets are counted on under it.
func (s *session) sealKey() []byte {
	if s.aside.key == nil {
		s.aside.key = make([]byte, sdp.SealKey)
		_, _ = rand.Read(s.aside.key) // it never fails
	}
	return s.aside.key
}

// sealOf is a seal of a session description for the packets.
func sealOf(s *sdp.Seal) *media.Seal {
	if s == nil {
		return nil
	}
	return &media.Seal{Suite: s.Suite, Key: s.Key}
}

// answersOurs is the ACK of our 200 to an INVITE without an offer: what waited for it begins.
func (s *session) answersOurs(now time.Time, d description) {
	a := s.aside.waits
	if a == nil || s.over {
		return
	}
	if d.ok {
		s.caller.far = d.text()
		s.ownText()
	}
	s.play(now, *a)
}

// mayPlay says why one more caller can't be played to now. Announcements leave a third of the ports to calls.
func (s *session) mayPlay() error {
	t := s.loop.s.cfg.Media.Stats()
	switch {
	case t.Free < (t.Free+t.InUse)/heardFew:
		return errNoPorts
	case s.loop.s.count.announcing.Load() >= int64(s.loop.s.mostPlaying()):
		return errTooMany
	}
	return nil
}

// tellEarly gives the caller our session description in a 183 (R25).
func (s *session) tellEarly(now time.Time) {
	if s.frozen != nil {
		return
	}
	text := s.ownText()
	s.frozen = &frozen{theirs: s.aside.told, ours: text, body: text, ctype: "application/sdp"}
	s.provisional(now, 183, "Session Progress", s.frozen)
}

// ownText is our session description with our ports in it.
func (s *session) ownText() []byte {
	if far, err := sdp.Look(s.caller.far); err == nil {
		if own, err := sdp.Look(s.aside.told); err == nil {
			s.expect(&s.caller, &far, &own)
			if len(far.Streams) > 0 && !far.Streams[0].Direction.Receives() {
				s.caller.media.Expect(0, media.Remote{}) // on hold: time goes on, and nothing is sent
			}
		}
	}
	return s.rewrite(&s.caller, s.aside.told)
}

// tell answers the caller ourselves: charging starts, and the book says "announced".
func (s *session) tell(now time.Time) error {
	if !s.caller.leg.MayAnswer() {
		return errUnpracked
	}
	var text []byte
	if s.frozen != nil {
		text = s.frozen.ours
	} else {
		text = s.ownText()
	}
	s.caller.leg.Contact = s.loop.s.contact(s.src, nil)
	b := appendReply(make([]byte, 0, 1024+len(text)), s.invite, s.src.Remote, 200, "OK", s.caller.leg.LocalTag)
	b = appendRecordRoutes(b, s.invite)
	b = wire.AppendHeader(b, "Contact", s.caller.leg.Contact)
	b = wire.AppendHeader(b, "Allow", allow)
	b = appendTags(b, "Supported", s.caller.knownTags(nil))
	b = s.appendSessionID(b, &s.caller)
	b = s.grantTimer(b, now, &s.caller, s.invite)
	b = wire.AppendHeader(b, "Content-Type", "application/sdp")
	b = wire.AppendBody(b, text)
	s.final, s.aside.answered, s.code = true, true, 200
	s.caller.leg.Reply(now, leg.Reply{Method: "INVITE", CSeq: s.invite.CSeq, Code: 200, SDP: text, Data: b})
	s.loop.respond(now, s.key, 200, b)
	if s.caller.lost {
		s.callBack(&s.caller)
	}
	s.loop.s.count.announced.Add(1)
	s.feed(now, call.Announced{})
	return nil
}

// start plays tapes to the caller, and listens for the key if there is a way out.
func (s *session) start(now time.Time, a call.Play, tapes []*voice.Tape, sound sdp.Sound) error {
	w := &s.aside
	w.turn++
	turn, l := w.turn, s.loop
	if err := s.listen(a, sound); err != nil {
		return err
	}
	playing, err := s.caller.media.Play(media.Playback{
		Tapes: tapes, Gap: tapeGap, Rounds: a.Times, Pause: roundPause, Tail: tail, Codec: voice.CodecOf(sound.Codec), Payload: sound.Payload, Seal: sealOf(sound.Ours),
		Ended: func(e media.Ending) {
			if e.Why == media.Finished {
				l.post(func(now time.Time) { s.heardOut(now, turn) })
			}
		},
	})
	if err != nil {
		s.deafen()
		return err
	}
	w.playing, w.what, w.sound, w.began, w.hash = playing, a, sound, now, ""
	if a.Ringing {
		return nil
	}
	w.hash = hashes(tapes)
	l.s.count.announcing.Add(1)
	l.s.count.announcements.Add(1)
	s.record(now, Record{Kind: CallAnnounced, Caller: s.number, Called: s.match.Number, What: string(a.Name), Outcome: w.hash, Took: now.Sub(s.began)})
	s.log.Info().Str("announcement", string(a.Name)).Str("hash", w.hash).Bool("early", a.Early).Msg("the caller hears an announcement")
	return nil
}

// listen waits for the key, if there is a way out.
func (s *session) listen(a call.Play, sound sdp.Sound) error {
	if a.Key == "" {
		return nil
	}
	l := s.loop
	keys := &media.Keys{Events: sound.Events, Seal: sealOf(sound.Theirs), Pressed: func(p media.Press) {
		l.post(func(now time.Time) { s.pressed(now, string(p.Key), string(p.How)) })
	}}
	if len(sound.Events) == 0 { // R25: without telephone-event the tones themselves are looked for
		keys.Codec, keys.Payload = voice.CodecOf(sound.Codec), sound.Payload
	}
	return s.caller.media.Keys(keys)
}

// deafen ends that.
func (s *session) deafen() {
	if s.caller.media != nil {
		_ = s.caller.media.Keys(nil) // there is no seal to refuse
	}
}

// hashes are those of all recordings, for the book.
func hashes(tapes []*voice.Tape) string {
	list := make([]string, len(tapes))
	for i, t := range tapes {
		list[i] = t.Hash
	}
	return strings.Join(list, " ")
}

// Pauses between the languages of a text, before it is heard again, and before we hang up: a telephone plays what it has received a little later, and what
// it has not played when our BYE comes its caller does not hear.
const (
	tapeGap    = 700 * time.Millisecond
	roundPause = 2 * time.Second
	tail       = 300 * time.Millisecond
)

// heardOut is the end of an announcement that was heard as often as it was to be.
func (s *session) heardOut(now time.Time, turn int) {
	if s.over || s.aside.turn != turn || s.aside.playing == nil {
		return
	}
	defer s.loop.touch(s)
	s.endPlay(now, "finished")
	s.feed(now, call.Played{})
}

// endPlay ends what the caller hears of ours, and says in the record how.
func (s *session) endPlay(now time.Time, why string) {
	w := &s.aside
	w.waits = nil
	if w.playing == nil {
		return
	}
	w.playing.Stop()
	w.playing = nil
	s.deafen()
	if w.what.Ringing {
		return
	}
	s.loop.s.count.announcing.Add(-1)
	heard := now.Sub(w.began)
	s.loop.s.cfg.Observer.Announced(s.onRoute, w.what.Name, why == "finished", heard)
	s.record(now, Record{Kind: CallAnnouncementOver, Caller: s.number, Called: s.match.Number, What: string(w.what.Name), Outcome: w.hash, Why: why, Took: heard})
	s.log.Info().Str("announcement", string(w.what.Name)).Str("why", why).Dur("heard_ms", heard).Msg("an announcement has ended")
}

// pressed is a key that the caller has pressed.
func (s *session) pressed(now time.Time, key, how string) {
	if s.over {
		return
	}
	defer s.loop.touch(s)
	s.feed(now, call.Pressed{Key: key, How: how})
}

// alone says that the caller has an answer and nobody on the other side but us.
func (s *session) alone() bool { return s.aside.answered && s.winner == nil && !s.over }

// onAlone is a request of a caller who is on the line with nobody but us. False: it is one that is answered as ever.
func (s *session) onAlone(now time.Time, key txn.Key, m *wire.Message, f wire.Flow) bool {
	switch {
	case m.Method == "INFO":
		s.infoKey(now, m)
		return false
	case m.Method == "INVITE", m.Method == "UPDATE" && describe(m).ok:
		s.renegotiate(now, key, m, f)
		return true
	}
	return false
}

// infoKey is a key press in an INFO.
func (s *session) infoKey(now time.Time, m *wire.Message) {
	if k, ok := voice.InfoKey(m.ContentType, m.Body); ok {
		s.pressed(now, string(k), string(media.ByInfo))
	}
}

// renegotiate answers a caller who is announced to and offers anew: hold, resume, another address, another codec. An INVITE without an offer gets
// what the caller has already, and its ACK answers that.
func (s *session) renegotiate(now time.Time, key txn.Key, m *wire.Message, f wire.Flow) {
	d := describe(m)
	if d.ok && s.caller.media != nil {
		text, _, err := sdp.Accept(d.text(), s.caller.leg.SDPID, s.caller.media.Addr(), s.sealKey(), playable)
		if err != nil {
			s.reply(now, key, m, f, 488, "Not Acceptable Here")
			return
		}
		if was := s.aside.told; was != nil {
			text = sdp.Alike(text, d.text())
		}
		s.aside.told, s.caller.far = text, d.text()
	}
	text := s.ownText()
	b := appendReply(make([]byte, 0, 800+len(text)), m, f.Remote, 200, "OK", "")
	b = wire.AppendHeader(b, "Contact", s.caller.leg.Contact)
	b = wire.AppendHeader(b, "Allow", allow)
	b = appendTags(b, "Supported", s.caller.knownTags(nil))
	b = s.appendSessionID(b, &s.caller)
	b = s.grantTimer(b, now, &s.caller, m)
	b = wire.AppendHeader(b, "Content-Type", "application/sdp")
	b = wire.AppendBody(b, text)
	if m.Method == "INVITE" {
		s.caller.answers(m, f)
	}
	s.caller.leg.Reply(now, leg.Reply{Method: m.Method, CSeq: m.CSeq, Code: 200, SDP: text, Data: b})
	s.loop.respond(now, key, 200, b)
	if d.ok {
		s.replay(now)
	}
}

// renegotiated is the ACK that answers what we offered again.
func (s *session) renegotiated(now time.Time, d description) {
	if !d.ok {
		return
	}
	s.caller.far = d.text()
	s.ownText()
	s.replay(now)
}

// replay begins again where another codec was agreed meanwhile; where it is the same the text goes on, by the new address.
func (s *session) replay(now time.Time) {
	w := &s.aside
	if w.playing == nil {
		return
	}
	sound, err := sdp.Agreed(s.caller.far, w.told, playable)
	if err != nil {
		return // on hold: time goes on, and what is said meanwhile is lost
	}
	tapes, what := s.loop.s.tapes(w.what), w.what
	var trouble error
	switch was := w.sound; {
	case len(tapes) == 0:
	case was.Codec != sound.Codec || was.Payload != sound.Payload || !was.Ours.Same(sound.Ours):
		s.endPlay(now, "another codec was agreed: it begins again")
		trouble = s.start(now, what, tapes, sound)
	case !slices.Equal(was.Events, sound.Events) || !was.Theirs.Same(sound.Theirs):
		w.sound, trouble = sound, s.listen(what, sound)
	}
	if trouble != nil {
		s.feed(now, call.Unplayable{Why: "nothing can be played to the caller: " + trouble.Error()})
	}
}

// taken counts an answer to a caller who had been announced to.
func (s *session) taken(now time.Time, at *attempt) {
	srv := s.loop.s
	s.answeredAt = now
	since := s.began
	if !s.aside.since.IsZero() {
		since = s.aside.since
	}
	srv.failedSince.Store(0)
	srv.count.answered.Add(1)
	srv.count.talking.Add(1)
	srv.cfg.Observer.CallAnswered(s.onRoute, s.machine.Class, at.ep.Name, now.Sub(since))
	at.record(now, Record{Kind: CallAnswered, Code: 200, Took: now.Sub(since)})
	s.log.Info().Str("endpoint", string(at.ep.Name)).Dur("after_ms", now.Sub(since)).Msg("a caller who was announced to has been answered by a person")
}

// tapes are the recordings of what is to be heard.
func (s *Server) tapes(a call.Play) []*voice.Tape {
	switch {
	case a.Ringing:
		return []*voice.Tape{voice.Ringing()}
	case s.cfg.Tapes == nil:
		return nil
	}
	way := voice.WayOut{Stay: a.Stay}
	if len(a.Key) == 1 {
		way.Key = a.Key[0]
	}
	return s.cfg.Tapes(a.Name, way)
}

// mostPlaying is how many announcements are played at one time.
func (s *Server) mostPlaying() int {
	if s.cfg.MostPlaying > 0 {
		return s.cfg.MostPlaying
	}
	return mostPlaying
}

// mostPlaying bounds what routine callers can make us send: one core plays so many with ease, and more of them wait for a busy signal, not for us.
const mostPlaying = 1000
