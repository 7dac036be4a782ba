// Package media relays the packets of a call (RTP, RTCP, anything on UDP) between two sides, byte for byte, and says what it saw.
package media
