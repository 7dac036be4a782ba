package app

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"nines/configs"
	"nines/health"
	"nines/journal"
	"nines/notify"
	"nines/sip"
)

const (
	outagesEvery = time.Second
	inspectEvery = 10 * time.Second
	soon         = 30 * 24 * time.Hour // before a certificate ends
	fewBytes     = 256 << 20           // left on a disk
	someWhile    = 10 * time.Minute    // after which something that does not come again is over
	deafFor      = 10 * time.Minute    // before a receiver counts as dead
	fewShare     = 0.02                // of a disk
)

// watchOutages looks once a second at what is believed, and makes notices of it, until ctx ends.
func (n *Node) watchOutages(ctx context.Context) {
	look := time.NewTicker(outagesEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		wait, cancel := context.WithTimeout(ctx, outagesEvery)
		believed, err := n.sip.Explain(wait)
		cancel()
		if err == nil {
			n.outages.look(time.Now(), believed)
		}
	}
}

// inspect looks at what may hang: disks and files. It hangs then, and nothing else does. It ends with ctx.
func (n *Node) inspect(ctx context.Context) {
	look := time.NewTicker(inspectEvery)
	defer look.Stop()
	i := inspector{desk: n.outside, outages: n.outages}
	for {
		n.mu.Lock()
		f, accepted, problems := n.file, n.accepted, len(n.problems)
		n.mu.Unlock()
		now := time.Now()
		i.is("config", !accepted, notify.ConfigRefused, fmt.Sprintf("%s is refused with %d errors; the configuration of before runs on", filepath.Base(n.opt.ConfigPath), problems))
		i.treats(now, f.Routes, n.sip.Treats())
		i.counters(n.sip.Counters())
		i.receivers(now, n.outside.Receivers())
		i.book(n.book.Health())
		i.unkept("holds", n.memory.file.lost())
		i.unkept("orders to treat a route as emergency", n.treats.file.lost())
		i.unkept("call-backs", n.desk.file.lost())
		if err := n.outside.Unkept(); err != nil {
			i.unkept("notices", err.Error())
		} else {
			i.unkept("notices", "")
		}
		i.papers(now, n.papers(now, f))
		i.disk(f.State)
		if folder := filepath.Dir(f.Journal.Path); folder != f.State {
			i.disk(folder)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// inspector turns what it sees into notices.
type inspector struct {
	desk    *notify.Desk
	outages *outages
	was     sip.Counters
	lost    int64 // entries of the book
}

// is tells whether something is so now.
func (i *inspector) is(key string, so bool, code notify.Code, text string) {
	if so {
		i.desk.Tell(notify.Notice{Key: key, Code: code, Text: text + "."})
		return
	}
	i.desk.Over(notify.Notice{Key: key, Text: "it is well again."})
}

func (i *inspector) counters(c sip.Counters) {
	if c.NoPorts > i.was.NoPorts {
		i.outages.passing("ports", notify.NoPorts, "calls found no media ports, and their audio goes past us.")
	}
	if c.Panics > i.was.Panics {
		i.outages.passing("fault", notify.Fault, "messages or timers met a fault of ours; the log has the details.")
	}
	i.was = c
}

// treats tells when an operator's order to treat a route as emergency will soon be over.
func (i *inspector) treats(now time.Time, routes []configs.Route, all []sip.Treat) {
	for _, r := range routes {
		key, at := "treat "+r.Name, slices.IndexFunc(all, func(t sip.Treat) bool { return string(t.Route) == r.Name })
		if at < 0 {
			i.desk.Over(notify.Notice{Key: key, Text: "the route is routine again."})
			continue
		}
		t := all[at]
		if now.Before(health.WarnAt(t.From, t.Until)) {
			i.desk.Over(notify.Notice{Key: key, Text: "it was ordered again."})
			continue
		}
		i.desk.Tell(notify.Notice{Key: key, Code: notify.TreatEnds, Text: fmt.Sprintf(
			"%s is treated as emergency until %s, as %s ordered (%s); then it is routine again.", r.Name, t.Until.Format(time.TimeOnly), t.By, t.Why)})
	}
}

// receivers tells the others of one that takes nothing.
func (i *inspector) receivers(now time.Time, all []notify.ReceiverStatus) {
	for _, r := range all {
		dead := !r.Since.IsZero() && now.Sub(r.Since) > deafFor
		i.is("receiver "+r.Name, dead, notify.ReceiverDead, fmt.Sprintf("%s takes no notices since %s", r.Name, r.Since.Format(time.TimeOnly)))
	}
}

// book tells when entries are lost, or can't be written.
func (i *inspector) book(h journal.Health) {
	if h.Lost > i.lost {
		i.outages.passing("booklost", notify.BookLoses, "the book had no room for entries, and they are lost; calls are not affected.")
	}
	i.lost = h.Lost
	i.is("book", h.Error != "", notify.BookLoses, "the book cannot be written: "+h.Error)
}

func (i *inspector) unkept(what, why string) {
	i.is("state "+what, why != "", notify.StateUnkept, what+" are not written down: "+why)
}

// disk tells when little is left. A folder that is not there is somebody else's trouble.
func (i *inspector) disk(folder string) {
	var s syscall.Statfs_t
	if syscall.Statfs(folder, &s) != nil || s.Blocks == 0 {
		return
	}
	free := s.Bavail * uint64(s.Bsize)
	few := free < fewBytes && float64(s.Bavail) < fewShare*float64(s.Blocks) || free < fewBytes/16
	i.is("disk "+folder, few, notify.DiskFull, "little room is left for "+folder)
}

// papers tells of those that end soon, or have ended.
func (i *inspector) papers(now time.Time, all []paper) {
	for _, c := range all {
		left := c.until.Sub(now)
		i.is("expired "+c.path, left <= 0, notify.CertExpired, fmt.Sprintf("%s has expired on %s", c.path, c.until.UTC().Format(time.DateOnly)))
		i.is("expires "+c.path, left > 0 && left < soon, notify.CertExpires, fmt.Sprintf("%s expires on %s", c.path, c.until.UTC().Format(time.DateOnly)))
	}
}

// paper is a certificate that somebody must renew.
type paper struct {
	path  string
	until time.Time
}

// papers are ours, as it is used, and those that others are checked with: the first in each file that can be read.
func (n *Node) papers(now time.Time, f *configs.File) []paper {
	var all []paper
	if st := n.certs.status(now); st != nil && st.Usable {
		all = append(all, paper{f.TLS.Certificate, st.Expires})
	}
	files := []string{f.TLS.ClientCA}
	for _, c := range f.Notify {
		files = append(files, c.CA)
	}
	for _, path := range files {
		if path == "" {
			continue
		}
		if c, err := readCertificate(path); err == nil {
			all = append(all, paper{path, c.NotAfter})
		}
	}
	return all
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in " + path)
}

// noticed makes notices of health's.
func (o *outages) noticed(h health.Notice) {
	name := string(h.Endpoint)
	text := h.Text
	if name != "" {
		text = name + ": " + text
	}
	begins := func(key string, code notify.Code) { o.desk.Tell(notify.Notice{Key: key, Code: code, Text: text + "."}) }
	ends := func(key string) { o.desk.Over(notify.Notice{Key: key, Text: text + "."}) }
	switch h.Kind {
	case health.SelfSuspected:
		begins("self", notify.SelfSuspected)
	case health.SelfTrusted:
		ends("self")
	case health.HoldEnds:
		begins("hold "+name, notify.HoldEnds)
	case health.HoldSet, health.Released:
		ends("hold " + name)
	case health.HoldEnded:
		ends("hold " + name)
		o.desk.Tell(notify.Notice{Code: notify.HoldEnded, Text: text + "."})
	case health.NumberFails:
		begins("number "+name, notify.NumberFails)
	case health.NumberAnswers:
		ends("number " + name)
	case health.AudioMissing:
		o.passing("audio "+name, notify.AudioMissing, text+".")
	case health.PerhapsNotReached:
		o.passing("queue "+name, notify.NotReached, text+".")
	case health.EvidenceVoid, health.ReturnBegins, health.Proven: // the outage tells of it
	case health.AddressChanged: // nobody outside can do anything about it
	case health.Certificate: // the inspector tells of it
	}
}
