package sip

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// rate is how much somebody may ask of us: so many at once, and one more every so often.
type rate struct {
	every time.Duration
	burst int
}

// instant is a time in units of 65 µs since the server's start, 40 bits of it: enough for two years, and what is older than a burst means nothing.
type instant uint64

const (
	instantUnit = 1 << 16 // nanoseconds
	instantMask = 1<<40 - 1
)

// instant is a time as the buckets have it.
func (s *Server) instant(now time.Time) instant {
	return instant(now.Sub(s.born)/instantUnit) & instantMask
}

// pour is a leaky bucket's arithmetic (GCRA): full is when it will be empty again, and it runs over when that is too far off. A time that no bucket can
// have is that of an old one.
func (r rate) pour(full, now instant) (instant, bool) {
	each := instant(r.every / instantUnit)
	room := each * instant(r.burst)
	left := (full - now) & instantMask
	if left > room { // it has long been empty
		left = 0
	}
	if left+each > room {
		return full, false
	}
	return (now + left + each) & instantMask, true
}

// bucket is one for all. It may be used by everybody at once.
type bucket struct {
	rate
	full atomic.Uint64
}

// take says whether there is room for one more.
func (b *bucket) take(now instant) bool {
	for {
		was := b.full.Load()
		is, ok := b.pour(instant(was), now)
		if !ok || b.full.CompareAndSwap(was, uint64(is)) {
			return ok
		}
	}
}

// buckets are one for each source, an IPv4 address or an IPv6 /64. The table never grows: a source that comes takes the place of another with the same
// hash, which then begins anew. So who has a million addresses is hardly held back by them; what all may do together needs a [bucket] beside.
type buckets struct {
	rate
	seed  maphash.Seed
	slots [places]atomic.Uint64 // 24 bits that tell sources apart, then an instant
}

const places = 1 << 14 // 128 KB

func newBuckets(r rate) *buckets { return &buckets{rate: r, seed: maphash.MakeSeed()} }

// take says whether there is room for one more of a source.
func (b *buckets) take(src netip.Addr, now instant) bool {
	a := src.As16()
	n := len(a)
	if !src.Is4() && !src.Is4In6() {
		n = 8 // whoever has an IPv6 address has 2^64 of them
	}
	h := maphash.Bytes(b.seed, a[:n])
	slot, mark := &b.slots[h%places], h&^instantMask
	for {
		was := slot.Load()
		full := now
		if was&^instantMask == mark {
			full = instant(was & instantMask)
		}
		is, ok := b.pour(full, now)
		if !ok || slot.CompareAndSwap(was, mark|uint64(is)) {
			return ok
		}
	}
}
