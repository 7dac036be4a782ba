package wire

import "strings"

// crlf writes a message as tests read it best: a line a line.
func crlfText(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n") }

const sdpText = "v=0\r\no=- 3747 3747 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8 0 18 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\n" +
	"a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"

var inviteText = crlfText(`
INVITE sip:999@203.0.113.10:5060;user=phone SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK0g3c9a30d8u0ksk5j4s0.1;rport
Via: SIP/2.0/UDP 192.0.2.77:5060;received=192.0.2.78;branch=z9hG4bK-524287-1---a1b2c3d4e5f6
Record-Route: <sip:192.0.2.10;lr;ftag=as6f8b1d2e>
Max-Forwards: 68
From: "Caller" <sip:+441905723000@bt.example;user=phone>;tag=as6f8b1d2e
To: <sip:999@203.0.113.10;user=phone>
Call-ID: 3c26700857a87f84-524287@192.0.2.77
CSeq: 102 INVITE
Contact: <sip:+441905723000@192.0.2.77:5060;transport=udp>
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, PRACK, INFO
Supported: timer, 100rel, replaces, histinfo
P-Asserted-Identity: <sip:+441905723000@bt.example;user=phone>
Privacy: none
Session-Expires: 1800
Min-SE: 90
User-Agent: Carrier SBC 9.2
Content-Type: application/sdp
Content-Length: 269

`) + sdpText

var okText = crlfText(`
SIP/2.0 200 OK
Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK7s1c42;rport=5060;received=203.0.113.10
From: <sip:nines@203.0.113.10>;tag=7s1c42
To: <sip:10.0.0.10:5060>;tag=9fxced76sl
Call-ID: 7s1c42@nines
CSeq: 7 OPTIONS
Contact: <sip:10.0.0.10:5060>
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE
Accept: application/sdp
Supported: timer
Content-Length: 0

`)
