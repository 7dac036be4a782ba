package hep

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var message = []byte("INVITE sip:999@nines SIP/2.0\r\nCall-ID: 1@carrier\r\nCSeq: 1 INVITE\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:999@nines>\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nContent-Length: 0\r\n\r\n")

func example() Packet {
	return Packet{
		At: time.Date(2026, 11, 26, 21, 0, 1, 234567000, time.UTC), Src: netip.MustParseAddrPort("192.0.2.9:5060"), Dst: netip.MustParseAddrPort("203.0.113.10:5061"),
		Call: "mi0-0-1", Payload: message,
	}
}

// decode reads a packet back: the data of each chunk, by vendor and type.
func decode(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	if string(b[:4]) != "HEP3" || int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		t.Fatalf("a packet begins with HEP3 and its length: % x of %d", b[:6], len(b))
	}
	chunks := map[string][]byte{}
	for b = b[6:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint16(b[4:]))
		if n < 6 || n > len(b) {
			t.Fatalf("a chunk of %d bytes where %d are left", n, len(b))
		}
		chunks[fmt.Sprintf("%d/%d", binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))] = b[6:n]
		b = b[n:]
	}
	return chunks
}

func TestAPacketHasTheChunksOfTheSpecification(t *testing.T) {
	got := decode(t, Append([]byte("before")[6:], Agent{ID: 2001, Password: "secret", Name: "west-mercia"}, example()))
	want := map[string]string{
		"0/1": "02", "0/2": "11", "0/3": "c0000209", "0/4": "cb00710a", "0/7": "13c4", "0/8": "13c5", "0/10": "00039447", "0/11": "01", "0/12": "000007d1",
		"0/14": hex.EncodeToString([]byte("secret")), "0/15": hex.EncodeToString(message), "0/17": hex.EncodeToString([]byte("mi0-0-1")),
		"0/19": hex.EncodeToString([]byte("west-mercia")),
	}
	want["0/9"] = fmt.Sprintf("%08x", example().At.Unix())
	for chunk, data := range want {
		if g := hex.EncodeToString(got[chunk]); g != data {
			t.Errorf("chunk %s is %s, want %s", chunk, g, data)
		}
		delete(got, chunk)
	}
	if len(got) > 0 {
		t.Errorf("chunks that nobody asked for: %v", got)
	}
}

func TestIPv6AndTCP(t *testing.T) {
	p := example()
	p.Src, p.Stream = netip.MustParseAddrPort("[2001:db8::9]:5060"), true
	got := decode(t, Append(nil, Agent{}, p))
	if !bytes.Equal(got["0/1"], []byte{10}) || !bytes.Equal(got["0/2"], []byte{6}) || len(got["0/5"]) != 16 || len(got["0/6"]) != 16 || got["0/3"] != nil || got["0/14"] != nil {
		t.Errorf("%v", got)
	}
}

func TestALongMessageIsCut(t *testing.T) {
	p := example()
	p.Payload = bytes.Repeat([]byte("x"), 65535)
	b := Append(nil, Agent{ID: 1}, p)
	if len(b) != maxPacket || len(decode(t, b)["0/15"]) < 65000 {
		t.Errorf("%d bytes; the most that fits into a datagram is %d", len(b), maxPacket)
	}
}

func TestPacketsArrive(t *testing.T) {
	homer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer homer.Close()
	var s Sender
	s.Send(example()) // nowhere: nothing happens
	s.Configure(Config{To: "udp://" + homer.LocalAddr().String(), Agent: Agent{ID: 7}})
	go s.Run(t.Context()) // ends with the test
	s.Send(example())
	buf := make([]byte, 65536)
	if err := homer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := homer.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, buf[:n]); !bytes.Equal(got["0/15"], message) {
		t.Errorf("got %q", got["0/15"])
	}
}

func TestWhoHasNothingToSendToNeverWaits(t *testing.T) {
	var s Sender
	s.Configure(Config{To: "udp://127.0.0.1:9060"})
	for range queueMost + 10 { // nobody runs it
		s.Send(example())
	}
	if _, lost := s.Counts(); lost != 10 {
		t.Errorf("%d lost, want the 10 for which there was no room", lost)
	}
}

// TestTsharkUnderstandsIt asks somebody else's decoder.
func TestTsharkUnderstandsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts another program")
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	if known, err := exec.Command(tshark, "-G", "protocols").Output(); err != nil || !strings.Contains(string(known), "\thep\n") {
		t.Skip("this tshark knows no HEP") // 4.0 has it by a plugin only
	}
	text2pcap, err := exec.LookPath("text2pcap")
	if err != nil {
		t.Skip("text2pcap is not installed")
	}
	dir := t.TempDir()
	dump, file := filepath.Join(dir, "hep.txt"), filepath.Join(dir, "hep.pcap")
	if err := os.WriteFile(dump, []byte(hex.Dump(Append(nil, Agent{ID: 2001, Password: "secret", Name: "west-mercia"}, example()))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(text2pcap, "-q", "-u", "40000,9060", dump, file).CombinedOutput(); err != nil {
		t.Fatalf("text2pcap: %v\n%s", err, out)
	}
	out, err := exec.Command(tshark, "-r", file, "-d", "udp.port==9060,hep", "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, out)
	}
	for _, want := range []string{"192.0.2.9", "203.0.113.10", "2001", "INVITE sip:999@nines SIP/2.0", "mi0-0-1", "secret"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("tshark does not see %q in it:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "Malformed") {
		t.Errorf("tshark finds it malformed:\n%s", out)
	}
}
