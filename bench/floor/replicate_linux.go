package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// What a copy of a log to another process costs at the least. One process, the leader, sends ranges of a file with
// sendfile; the other, the follower, asks for some ranges at a time, as a fetch of that many partitions does, reads them, checks
// the checksum of each batch, and writes each range to a file. Both say what CPU time they took.

const (
	copiedBytes = 1 << 30
	rangeBytes  = 1 << 20 // replica.fetch.max.bytes
	fetchRanges = 3       // partitions of a fetch
	checkedSize = 64 << 10
	copyRounds  = 3
)

// copyKind is what the follower does with what it reads.
type copyKind struct {
	name                         string
	check, write, uncached, sync bool
}

var copyKinds = []copyKind{
	{name: "read"},
	{name: "read, check", check: true},
	{name: "read, check, write", check: true, write: true},
	{name: "read, check, write, sync each fetch", check: true, write: true, sync: true},
	{name: "read, check, write past the page cache", check: true, write: true, uncached: true},
	{name: "read, check, write past the page cache, sync each fetch", check: true, write: true, uncached: true, sync: true},
}

// replicate measures every kind in turn, some rounds of it, and prints medians.
func replicate(ctx context.Context, dir string) error {
	leaders, followers := make([][]float64, len(copyKinds)), make([][]float64, len(copyKinds))
	rates := make([][]float64, len(copyKinds))
	source := filepath.Join(dir, "leader.log")
	if err := fillFile(source); err != nil {
		return err
	}
	defer func() { _ = os.Remove(source) }()
	for range copyRounds {
		for i := range copyKinds {
			led, followed, rate, err := copyOnce(ctx, dir, i)
			if err != nil {
				return fmt.Errorf("%s: %w", copyKinds[i].name, err)
			}
			leaders[i], followers[i], rates[i] = append(leaders[i], led), append(followers[i], followed), append(rates[i], rate)
		}
	}
	fmt.Println("CPU of the leader, of the follower and of both, s/GiB; MB/s: median (least-greatest)")
	for i, k := range copyKinds {
		both := make([]float64, copyRounds)
		for j := range both {
			both[j] = leaders[i][j] + followers[i][j]
		}
		fmt.Printf("%-58s %s  %s  %s  %s\n", k.name, spread(leaders[i]), spread(followers[i]), spread(both), spread(rates[i]))
	}
	return nil
}

func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.3g (%.3g-%.3g)", v[len(v)/2], v[0], v[len(v)-1])
}

func fillFile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := make([]byte, checkedSize)
	for i := range b {
		b[i] = byte(i * 7)
	}
	for n := 0; n < copiedBytes && err == nil; n += len(b) {
		_, err = f.Write(b)
	}
	return errors.Join(err, f.Close())
}

// copyOnce has two processes copy the file once.
func copyOnce(ctx context.Context, dir string, kind int) (led, followed, rate float64, err error) {
	leader := exec.CommandContext(ctx, os.Args[0], "-dir", dir, "-role", "leader")
	leader.Stderr = os.Stderr
	said, err := leader.StdoutPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	if err := leader.Start(); err != nil {
		return 0, 0, 0, err
	}
	var addr string
	if _, err = fmt.Fscanln(said, &addr); err == nil {
		var out []byte
		follower := exec.CommandContext(ctx, os.Args[0], "-dir", dir, "-role", fmt.Sprint("follower ", kind, " ", addr))
		follower.Stderr = os.Stderr
		if out, err = follower.Output(); err == nil {
			_, err = fmt.Sscan(string(out), &followed, &rate)
		}
	}
	if err != nil {
		_ = leader.Process.Kill()
		return 0, 0, 0, errors.Join(err, leader.Wait())
	}
	_, err = fmt.Fscan(said, &led)
	return led, followed, rate, errors.Join(err, leader.Wait())
}

// playRole is a process that copyOnce has started.
func playRole(role, dir string) error {
	if role == "leader" {
		return leaderRole(dir)
	}
	var kind int
	var addr string
	if _, err := fmt.Sscanf(role, "follower %d %s", &kind, &addr); err != nil {
		return err
	}
	return followerRole(dir, addr, copyKinds[kind])
}

func leaderRole(dir string) error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	nc, err := l.AcceptTCP()
	if err != nil {
		return err
	}
	if err := nc.SetWriteBuffer(socketBuffer); err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(dir, "leader.log"))
	if err != nil {
		return err
	}
	before := cpuSeconds()
	ask := make([]byte, 8)
	for {
		if _, err = io.ReadFull(nc, ask); err != nil {
			break
		}
		pos := int64(binary.BigEndian.Uint64(ask))
		for i := range int64(fetchRanges) {
			if err := send(nc, nil, file, pos+i*rangeBytes, rangeBytes, nil); err != nil {
				return err
			}
		}
	}
	fmt.Println(perGiB(cpuSeconds() - before))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func followerRole(dir, addr string, k copyKind) (err error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "follower.log")
	file, err := vfs.OS{}.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(name)) }()
	in, out := alignedBytes(fetchRanges*rangeBytes + 1000)[1000:], alignedBytes(rangeBytes)
	begin, before := time.Now(), cpuSeconds()
	size := int64(0)
	for size+int64(len(in)) <= copiedBytes {
		if _, err := nc.Write(binary.BigEndian.AppendUint64(nil, uint64(size))); err != nil {
			return err
		}
		if _, err := io.ReadFull(nc, in); err != nil {
			return err
		}
		for b := range slices.Chunk(in, rangeBytes) {
			if err := k.take(file, b, out, size); err != nil {
				return err
			}
			size += rangeBytes
		}
		if k.sync {
			if err := file.SyncData(); err != nil {
				return err
			}
		}
	}
	fmt.Println(perGiB(cpuSeconds()-before), float64(size)/1e6/time.Since(begin).Seconds())
	return nil
}

// take does what a follower does with one range.
func (k copyKind) take(file vfs.File, b, out []byte, pos int64) error {
	if k.check {
		for c := range slices.Chunk(b, checkedSize) {
			if crc32.Checksum(c, castagnoli) == 0 {
				return errors.New("a checksum of 0, which these bytes do not have")
			}
		}
	}
	switch {
	case !k.write:
		return nil
	case k.uncached:
		copyInPieces(out, b)
		ok, err := file.WriteUncached(out, pos)
		if err == nil && !ok {
			err = errors.New("the directory's file system has no direct writes")
		}
		return err
	}
	_, err := file.WriteAt(b, pos)
	return err
}

// copyInPieces copies less than a MiB at a time: from there on Go passes the caches by.
func copyInPieces(to, from []byte) {
	for len(from) > 0 {
		n := copy(to[:min(len(to), 256<<10)], from)
		to, from = to[n:], from[n:]
	}
}

func alignedBytes(n int) []byte {
	b := make([]byte, n+vfs.DirectAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (vfs.DirectAlign - 1)
	b = b[skip : skip+n]
	clear(b) // its pages are there before anything is measured
	return b
}

func perGiB(seconds float64) float64 { return seconds / copiedBytes * (1 << 30) }

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
