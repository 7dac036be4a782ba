package wire

// Peeked is what a glance at a message shows: views into its bytes, empty where there is nothing.
type Peeked struct {
	Method  []byte // empty in a response
	URI     []byte // Request-URI; empty in a response
	Status  int    // 0 in a request
	Branch  []byte // of the topmost Via
	Host    []byte // sent-by of the topmost Via
	Port    uint16 // of sent-by; 0 when absent
	ToTag   []byte
	FromTag []byte
	CallID  []byte
}
