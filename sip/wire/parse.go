package wire

// Parse reads one message.
func Parse(data []byte) (*Message, error) { return nil, errUnfinished }

// ParseURI reads a URI without angle brackets; false when it has no scheme.
func ParseURI(s string) (URI, bool) { return URI{}, false }

// Param finds a parameter of the URI.
func (u *URI) Param(name string) (string, bool) { return Param(u.Params, name) }

// Transport gives the transport parameter; sips: is TLS; 0 when neither says.
func (u *URI) Transport() Proto { return 0 }

// LR says that the URI is that of a loose router.
func (u *URI) LR() bool { return false }

// MAddr gives the maddr parameter.
func (u *URI) MAddr() string { return "" }

// Number gives the user part as a number to compare.
func (u *URI) Number() string { return "" }

// String puts the URI together again.
func (u *URI) String() string { return "" }

// Peek looks at a message without parsing it.
func Peek(data []byte) (p Peeked, ok bool) { return Peeked{}, false }
