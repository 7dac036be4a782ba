package wire

import "testing"

func BenchmarkParseInvite(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(inviteText)))
	data := []byte(inviteText)
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseOK(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(okText)))
	data := []byte(okText)
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPeek(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(inviteText)))
	data := []byte(inviteText)
	for b.Loop() {
		if _, ok := Peek(data); !ok {
			b.Fatal("not seen")
		}
	}
}
