package configs

import "slices"

// RestartOnly names the keys in which f differs from the running file and that only a restart can change: sockets and folders are taken at start.
func (f *File) RestartOnly(old *File) []string {
	var keys []string
	differs := func(key string, same bool) {
		if !same {
			keys = append(keys, key)
		}
	}
	differs("listen", slices.Equal(f.Listen, old.Listen) && slices.EqualFunc(f.Sides, old.Sides, Side.equal))
	differs("media.address", slices.Equal(f.Media.Addresses, old.Media.Addresses))
	differs("media.ports", f.Media.PortMin == old.Media.PortMin && f.Media.PortMax == old.Media.PortMax)
	differs("state", f.State == old.State)
	differs("run", f.Run == old.Run)
	moved := f.State != old.State // the book moves with it, and that is said
	differs("journal.path", f.Journal.Path == old.Journal.Path || moved)
	differs("journal.sign_key", f.Journal.SignKey == old.Journal.SignKey || moved)
	differs("journal.keep", f.Journal.Keep == old.Journal.Keep)
	differs("journal.keep_messages", f.Journal.KeepMessages == old.Journal.KeepMessages)
	differs("journal.keep_size", f.Journal.KeepSize == old.Journal.KeepSize)
	differs("journal.also", slices.Equal(f.Journal.Also, old.Journal.Also) || moved)
	differs("console.listen", f.Console.Listen == old.Console.Listen)
	return keys
}

func (s Side) equal(t Side) bool {
	return s.Name == t.Name && slices.Equal(s.On, t.On) && s.Advertise == t.Advertise && s.Media == t.Media
}
