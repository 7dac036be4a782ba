package txn

// item is one look at an entry that the queue has promised. It holds no pointer, so that the garbage collector does not read the queue.
type item struct {
	at    int64
	place uint32
	gen   uint32
}

// arm makes sure that the queue looks at an entry when it is due.
//
// An entry is not moved when its deadline moves to later: the queue looks too early, and puts it back. The queue never promises a look further ahead than
// 64·T1; so a deadline of an hour that shrinks to 32 s leaves nothing behind that stays for the hour.
func (t *Table[F]) arm(at int64, place uint32, e *entry[F]) {
	look := min(e.end, e.again, at+int64(t.linger))
	if look >= e.queued {
		return
	}
	e.queued = look
	t.queue.push(item{look, place, e.gen})
}

// queue is a heap of four children, earliest first. Most deadlines are the latest of all when they are made (now + 64·T1), so a push seldom climbs.
type queue []item

func (q *queue) push(it item) {
	h := append(*q, it)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if h[up].at <= it.at {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = it
	*q = h
}

func (q *queue) pop() item {
	h := *q
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if last.at <= h[least].at {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return top
}

// places are the entries, in blocks that never move; a freed place is used again.
type places[F any] struct {
	blocks [][]entry[F]
	unused []uint32
	used   uint32 // places handed out so far, freed ones included
}

const perBlock = 512

func (p *places[F]) get(place uint32) *entry[F] { return &p.blocks[place/perBlock][place%perBlock] }

func (p *places[F]) take() (uint32, *entry[F]) {
	if n := len(p.unused); n > 0 {
		place := p.unused[n-1]
		p.unused = p.unused[:n-1]
		return place, p.get(place)
	}
	place := p.used
	if int(place/perBlock) == len(p.blocks) {
		p.blocks = append(p.blocks, make([]entry[F], perBlock))
	}
	p.used++
	return place, p.get(place)
}

func (p *places[F]) release(place uint32, e *entry[F]) {
	*e = entry[F]{gen: e.gen + 1} // lets go of key, flow and bytes
	p.unused = append(p.unused, place)
}
