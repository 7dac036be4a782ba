package sip

import (
	"net/netip"

	"nines/sip/wire"
)

// side is the side that a flow is on; nil on a machine with one side. A socket of ours says it, and a connection that we dialled left from an address of
// one.
func (s *Server) side(f wire.Flow) *Side {
	if len(s.cfg.Sides) == 0 {
		return nil
	}
	name := ""
	for i := range s.listen {
		l := &s.listen[i]
		if l.Addr.Addr().Unmap() != f.Local.Addr().Unmap() {
			continue
		}
		if name == "" || l.Proto == f.Proto && l.Addr.Port() == f.Local.Port() {
			name = l.Side
		}
	}
	return s.sideNamed(name)
}

func (s *Server) sideNamed(name string) *Side {
	for i := range s.cfg.Sides {
		if s.cfg.Sides[i].Name == name {
			return &s.cfg.Sides[i]
		}
	}
	return nil
}

// via is the name of the side that a flow is on.
func (s *Server) via(f wire.Flow) string {
	if side := s.side(f); side != nil {
		return side.Name
	}
	return ""
}

// advertise is the host that we call ourselves on a flow; empty: its own address.
func (s *Server) advertise(f wire.Flow) string {
	if side := s.side(f); side != nil && side.Advertise != "" {
		return side.Advertise
	} else if side != nil {
		return ""
	}
	return s.cfg.Advertise
}

// mediaAddress is where the audio of one on a flow goes through: IPv6 if six, where there is any. It is false when there is no address at all.
func (s *Server) mediaAddress(f wire.Flow, six bool) (netip.Addr, bool) {
	if side := s.side(f); side != nil && side.Media.IsValid() {
		return side.Media.Unmap(), true
	}
	addr, ok := s.cfg.Media.Address(six)
	if !ok {
		addr, ok = s.cfg.Media.Address(!six)
	}
	return addr, ok
}
