package sip

import (
	"time"

	"nines/media"
	"nines/media/sdp"
	"nines/media/voice"
	"nines/policy"
)

// What a caller hears while a rescue looks for somebody (R21). It hangs off the rescue: it begins when everybody who is to be asked has been asked, and what
// goes wrong with it costs the caller a sound and nothing else.

// holdTheLine is the announcement of hearing: hold-the-line.
const holdTheLine = "hold-the-line"

// holdPause is the quiet between two rounds of it.
const holdPause = 5 * time.Second

// prepareHearing makes comfort noise ready where a route wants it: the first time that takes longer than a loop may wait.
func (s *Server) prepareHearing(r Routing) {
	for i := range r.Routes {
		if r.Routes[i].Hearing != policy.HearNothing && s.comfort.Load() == nil {
			go func() { s.comfort.Store(voice.Comfort()) }() // ends by itself
			return
		}
	}
}

// hearWhileLost lets the caller hear what the route says, once what the loop is about is done.
func (s *session) hearWhileLost() {
	if s.match.Route.Hearing == policy.HearNothing {
		return
	}
	l := s.loop
	l.post(func(now time.Time) {
		if s.watch.lostAt.IsZero() || s.over || s.hearing != nil || s.caller.media == nil {
			return
		}
		what, err := s.hear()
		if err != nil {
			s.log.Info().AnErr("error", err).Msg("the caller hears nothing while somebody is looked for: it can't be played to")
			return
		}
		if what != "" {
			s.record(now, Record{Kind: CallNoted, Caller: s.number, Why: "the caller hears " + what + " until somebody answers"})
			s.log.Info().Str("what", what).Msg("the caller hears something while somebody is looked for")
		}
	})
}

// hear plays to the caller, in the codec that it talks, and says what.
func (s *session) hear() (what string, err error) {
	comfort := s.loop.s.comfort.Load()
	tapes, pause := []*voice.Tape{comfort}, time.Duration(0)
	what = "comfort noise"
	if tape := s.loop.s.cfg.Tapes; s.match.Route.Hearing == policy.HearHoldTheLine && tape != nil {
		if told := tape(holdTheLine, voice.WayOut{}); len(told) > 0 {
			tapes, pause, what = told, holdPause, holdTheLine
		}
	}
	if tapes[0] == nil {
		return "", nil // it is not ready yet
	}
	sound, err := sdp.Agreed(s.caller.far, s.toldCaller(), playable)
	if err != nil {
		return "", err
	}
	s.hearing, err = s.caller.media.Play(media.Playback{
		Tapes: tapes, Gap: tapeGap, Pause: pause, Fill: comfort, Codec: voice.CodecOf(sound.Codec), Payload: sound.Payload, Seal: sealOf(sound.Ours),
	})
	return what, err
}

// hearNoMore ends what the caller hears: somebody talks to it, or it has left.
func (s *session) hearNoMore() {
	if s.hearing != nil {
		s.hearing.Stop()
		s.hearing = nil
	}
}
