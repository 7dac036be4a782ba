package night

// seeds are nights that found something once, and what. A night is made by its seed and by the code that plans it (plan_test.go, file_test.go,
// room_test.go): where that changes these nights change, too, so each story is told again as it was on the wires in a test of the room that was mended
// (sip/night_test.go, call/testdata/wakes-late.txt, sip/leg/testdata/prack_overtaken.txt, media/memory_relay_test.go, sip/wire/doubt_test.go).
var seeds = []struct {
	seed  uint64
	found string
}{
	{46538227297852, "a refusal over TCP was not heard: nobody else was asked, and the callers heard ringing for ever"},
	{46538227297851, "the same, where a patience that was spent saved nobody"},
	{20495691143866, "a path was mended, but the connection was stuck in its retransmission timer: 500 although the room would have answered"},
	{20495691143867, "the offer in a 200 that nobody wanted got an ACK without an answer"},
	{15899849218240, "a room whose connection broke while it rang was never told that the call was over"},
	{276939283800626, "the same for five callers at once"},
	{15899849218256, "a room whose connection broke after its 100 was never told that nobody waits"},
	{15899849218313, "500 after four seconds although the room would have answered: its connection was stuck"},
	{276939283800620, "a room that missed its BYE was locked onto by the next call on its port: two callers heard each other's call-taker"},
	{153297790502788, "a PRACK that an INFO had overtaken was refused, and the 200 waited 29 s for another"},
	{102993058879477, "a BYE had 200 ms to find a new connection: the room talked on to nobody"},
	{46538227297794, "over TCP a refusal may come after the phone has given up on its ACK: the town's own fault"},
}
