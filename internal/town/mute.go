package town

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
