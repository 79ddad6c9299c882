package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestUnitSum: whatever lies in a unit, its checksum is that of its bytes, put together or not, and so is what is put
// together from what its batches say.
func TestUnitSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := goldenLog()
	for range 500 {
		u := newUnit(1)
		for range r.IntN(6) {
			if r.IntN(3) == 0 {
				u.buf = appendNote(u.buf, entryCut, l, 9)
				continue
			}
			b := appendRandom(nil, r, minBatchBytes+r.IntN(64<<10))
			binary.BigEndian.PutUint32(b[batchSumAt:], crc32.Checksum(b[batchSumEnd:], castagnoli))
			u.buf = appendData(u.buf, l, 0, 0, &header{}, b)
			u.sumOf(b)
		}
		putUnitHead(u.buf, 7, 3, 2, u.sums)
		want := crc32.Checksum(u.buf[unitSumFrom:], castagnoli)
		if got := binary.BigEndian.Uint32(u.buf[unitSumAt:]); got != want {
			t.Fatalf("%d bytes, known %v: sum %08x, want %08x", len(u.buf), u.sums, got, want)
		}
		if got := unitSum(u.buf, saidSums(u.buf)); got != want {
			t.Fatalf("%d bytes, said %v: sum %08x, want %08x", len(u.buf), saidSums(u.buf), got, want)
		}
		if n := len(u.sums); n > 0 {
			k := u.sums[r.IntN(n)]
			u.buf[k.at+r.IntN(k.n)] ^= 1 << r.IntN(8)
			if unitSum(u.buf, nil) == want || unitSum(u.buf, saidSums(u.buf)) != want {
				t.Fatalf("a bit of a batch makes no difference, or one to what the batches say")
			}
		}
	}
}

func appendRandom(b []byte, r *rand.Rand, n int) []byte {
	for range n {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

func BenchmarkUnitSum(b *testing.B) {
	for _, size := range []int{4 << 10, 8 << 10, 16 << 10, 64 << 10, 128 << 10} {
		unit := make([]byte, 2<<20)
		var known []batchSum
		for at := unitHeadBytes; at+size <= len(unit); at += size {
			known = append(known, batchSum{at, size - 64, 0})
		}
		for name, k := range map[string][]batchSum{"combined": known, "summed": nil} {
			b.Run(name+"/"+fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
				b.SetBytes(int64(len(unit)))
				for b.Loop() {
					unitSum(unit, k)
				}
			})
		}
	}
}
