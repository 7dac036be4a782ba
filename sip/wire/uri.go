package wire

// URI is a Request-URI or an address. sip:, sips:, tel:, urn: and every other scheme can be read.
type URI struct {
	Scheme   string // lower case
	User     string // as written, escapes and user parameters included; in tel: the number, in urn: what follows "urn:"
	Password string
	Host     string // without the brackets of IPv6; empty in tel: and urn:
	Port     uint16 // 0 when absent
	Params   string // from the first semicolon on, with it
	Headers  string // what follows the question mark
}
