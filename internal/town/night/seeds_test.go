package night

// seeds are nights that found something once, and what. A night changes with the code that makes it (plan_test.go), so the tests of the rooms tell each
// story again, as it was on the wires (sip/night_test.go, call/testdata, media); here the nights stay as they are.
var seeds = []struct {
	seed  uint64
	found string
}{
	{1, "the node left sockets behind"},
}
