package town

import "strings"

// Mute stops or resumes the call's audio without a word about it, as a phone does with silence suppression or a mute key. A call that
// is muted while it rings says nothing from the start.
func (c *Call) Mute(on bool) {
	c.phone.post(func() {
		c.muted = on
		if !on {
			if c.rec.State == Talking {
				c.startVoice()
			}
			return
		}
		c.beat.stop()
		c.beat = nil
	})
}

// Press presses a key of the telephone, one of 0-9 * # (RFC 4733).
func (c *Call) Press(key byte) {
	event := strings.IndexByte("0123456789*#", key)
	c.phone.post(func() {
		if c.voice != nil && event >= 0 {
			c.voice.press(byte(event))
		}
	})
}

// Tone sends a key as a tone in the sound, for 160 ms, as a telephone does that has agreed on no events. The call must talk PCMA.
func (c *Call) Tone(key byte) {
	c.phone.post(func() {
		if c.voice != nil {
			c.voice.tone(key)
		}
	})
}
