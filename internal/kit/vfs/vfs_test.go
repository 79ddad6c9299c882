package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"syscall"
	"testing"
	"unsafe"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// each runs a test on every implementation, in an empty directory of it.
func each(t *testing.T, run func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) { run(t, vfs.OS{}, t.TempDir()) })
	t.Run("mem", func(t *testing.T) { run(t, mkdir(t, vfs.NewMem(), "/d"), "/d") })
	t.Run("untracked", func(t *testing.T) { run(t, mkdir(t, vfs.NewUntrackedMem(), "/d"), "/d") })
	t.Run("fault", func(t *testing.T) { run(t, mkdir(t, vfs.NewFault(vfs.NewMem()), "/d"), "/d") })
}

func mkdir(t *testing.T, fsys vfs.FS, dir string) vfs.FS {
	t.Helper()
	must(t, fsys.MkdirAll(dir))
	return fsys
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	return f
}

func write(t *testing.T, f vfs.File, data []byte, off int64) {
	t.Helper()
	n, err := f.WriteAt(data, off)
	if err != nil || n != len(data) {
		t.Fatalf("write of %d bytes at %d = %d, %v", len(data), off, n, err)
	}
}

func content(t *testing.T, fsys vfs.FS, name string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name, 1<<30)
	must(t, err)
	return b
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, dir+"/a")
		write(t, f, []byte("hello"), 3)
		got := make([]byte, 20)
		n, err := f.ReadAt(got, 0)
		if n != 8 || !errors.Is(err, io.EOF) || string(got[:8]) != "\x00\x00\x00hello" {
			t.Fatalf("read %q, %v", got[:n], err)
		}
		if n, err := f.ReadAt(got[:4], 3); n != 4 || err != nil || string(got[:4]) != "hell" {
			t.Fatalf("inner read %q, %v", got[:n], err)
		}
		if n, err := f.ReadAt(got, 100); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("read past the end = %d, %v", n, err)
		}
		must(t, f.Truncate(5))
		must(t, f.Truncate(7))
		must(t, f.Sync())
		must(t, f.SyncData())
		must(t, f.WriteBack(0, 7))
		if size, err := f.Size(); size != 7 || err != nil {
			t.Fatalf("size %d, %v", size, err)
		}
		must(t, f.Close())
		if got := content(t, fsys, dir+"/a"); string(got) != "\x00\x00\x00he\x00\x00" {
			t.Fatalf("content %q", got)
		}
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("write to a closed file: %v", err)
		}
		r, err := fsys.Open(dir + "/a")
		must(t, err)
		if _, err := r.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("a file opened for reading took a write")
		}
		must(t, r.Close())
	})
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		if _, err := fsys.Open(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of an absent file: %v", err)
		}
		if _, err := fsys.Create(dir + "/no/file"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("create in an absent directory: %v", err)
		}
		must(t, vfs.WriteFile(fsys, dir+"/b", []byte("bb")))
		must(t, vfs.WriteFile(fsys, dir+"/a", []byte("a")))
		must(t, fsys.MkdirAll(dir+"/sub/deep"))
		must(t, fsys.Rename(dir+"/a", dir+"/sub/c"))
		must(t, fsys.Rename(dir+"/b", dir+"/sub/c"))
		if err := fsys.Remove(dir + "/sub"); err == nil {
			t.Fatal("removed a directory that is not empty")
		}
		got := ""
		entries, err := fsys.ReadDir(dir + "/sub")
		must(t, err)
		for _, e := range entries {
			got += e.Name() + map[bool]string{true: "/ ", false: " "}[e.IsDir()]
		}
		if got != "c deep/ " {
			t.Fatalf("entries %q", got)
		}
		if info, err := fsys.Stat(dir + "/sub/c"); err != nil || info.Size() != 2 {
			t.Fatalf("stat %v, %v", info, err)
		}
		must(t, fsys.SyncDir(dir))
		must(t, fsys.RemoveAll(dir+"/sub"))
		must(t, fsys.RemoveAll(dir+"/sub"))
		if _, err := fsys.Stat(dir + "/sub/c"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("stat after removal: %v", err)
		}
		f, err := fsys.OpenReadWrite(dir + "/keep")
		must(t, err)
		write(t, f, []byte("kept"), 0)
		must(t, fsys.Remove(dir+"/keep"))
		b := make([]byte, 4)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "kept" {
			t.Fatalf("a removed file that is open reads %q, %v", b, err)
		}
		must(t, f.Close())
	})
}

func TestLockAndUsage(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		l, err := fsys.Lock(dir + "/.lock")
		must(t, err)
		if _, err := fsys.Lock(dir + "/.lock"); err == nil {
			t.Fatal("the lock was given twice")
		}
		must(t, l.Close())
		l, err = fsys.Lock(dir + "/.lock")
		must(t, err)
		must(t, l.Close())
		u, err := fsys.Usage(dir)
		if err != nil || u.TotalBytes <= 0 || u.FreeBytes <= 0 || u.FreeBytes > u.TotalBytes {
			t.Fatalf("usage %+v, %v", u, err)
		}
	})
}

// aligned returns n bytes at a direct-I/O address.
func aligned(n int) []byte {
	b := make([]byte, n+vfs.DirectAlign)
	skip := vfs.DirectAlign - int(uintptr(unsafe.Pointer(&b[0]))%vfs.DirectAlign)
	return b[skip : skip+n]
}

func TestDirect(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f, direct, err := fsys.OpenDirect(dir + "/journal")
		must(t, err)
		t.Logf("direct: %v", direct)
		b := aligned(8192)
		b[0], b[8191] = 1, 2
		write(t, f, b, 4096)
		got := aligned(12288)
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got[4096:], b) || got[0] != 0 {
			t.Fatalf("direct read back: %v", err)
		}
		must(t, f.Close())
	})
	f, direct, err := vfs.NewMem().OpenDirect("/journal")
	if err != nil || !direct {
		t.Fatalf("direct %v, %v", direct, err)
	}
	b := aligned(8192)
	for name, bad := range map[string]func() (int, error){
		"offset":  func() (int, error) { return f.WriteAt(b[:4096], 512) },
		"length":  func() (int, error) { return f.WriteAt(b[:100], 0) },
		"address": func() (int, error) { return f.WriteAt(b[8:4104], 0) },
	} {
		if _, err := bad(); err == nil {
			t.Errorf("misaligned %s was taken", name)
		}
	}
}

// TestMemAgainstBytes compares random writes, truncations and reads with a plain slice.
func TestMemAgainstBytes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fsys := vfs.NewMem()
		if seed%2 == 1 {
			fsys = vfs.NewUntrackedMem()
		}
		f := create(t, fsys, "/f")
		var model []byte
		for range 60 {
			off := rng.IntN(300_000)
			switch rng.IntN(8) {
			case 0:
				must(t, f.Truncate(int64(off)))
				model = append(model[:min(off, len(model))], make([]byte, max(0, off-len(model)))...)
			case 1:
				must(t, f.Sync())
			default:
				p := make([]byte, rng.IntN(100_000))
				for i := range p {
					p[i] = byte(rng.Uint32())
				}
				write(t, f, p, int64(off))
				if len(p) > 0 {
					model = append(model, make([]byte, max(0, off+len(p)-len(model)))...)
					copy(model[off:], p)
				}
			}
			if got := content(t, fsys, "/f"); !bytes.Equal(got, model) {
				t.Fatalf("seed %d: %d bytes differ from the model's %d", seed, len(got), len(model))
			}
		}
	}
}

func TestCrashContent(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "/f")
	old := bytes.Repeat([]byte{1}, 10_000)
	write(t, f, old, 0)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	live := bytes.Repeat([]byte{2}, 200_000)
	write(t, f, live, 5000)
	live = append(old[:5000:5000], live...)

	if got := content(t, m.CrashClone(vfs.CrashOptions{}), "/f"); !bytes.Equal(got, old) {
		t.Fatalf("keeping nothing left %d bytes, want the synced 10000", len(got))
	}
	if got := content(t, m.CrashClone(vfs.CrashOptions{KeepUnsynced: 1}), "/f"); !bytes.Equal(got, live) {
		t.Fatalf("keeping all left %d bytes, want the live 205000", len(got))
	}
	sizes := map[int]bool{}
	for seed := range uint64(20) {
		got := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.3}), "/f")
		again := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.3}), "/f")
		if !bytes.Equal(got, again) {
			t.Fatalf("seed %d gave two different crashes", seed)
		}
		sizes[len(got)] = true
		checkBlocks(t, got, old, live)
	}
	if len(sizes) < 5 {
		t.Fatalf("20 seeds gave only the sizes %v", sizes)
	}
	if got := content(t, m, "/f"); !bytes.Equal(got, live) {
		t.Fatal("cloning changed the original")
	}
}

// checkBlocks fails unless each 4 KiB block is wholly the synced or wholly the live one, or zeros
// where nothing had been synced.
func checkBlocks(t *testing.T, got, old, live []byte) {
	t.Helper()
	if len(got) < len(old) {
		t.Fatalf("%d bytes, but %d were synced", len(got), len(old))
	}
	for at := 0; at < len(got); at += 4096 {
		end := min(at+4096, len(got))
		block := got[at:end]
		was := append([]byte(nil), old[min(at, len(old)):min(end, len(old))]...)
		was = append(was, make([]byte, len(block)-len(was))...)
		if !bytes.Equal(block, live[at:end]) && !bytes.Equal(block, was) {
			t.Fatalf("block at %d is neither the synced nor the live one", at)
		}
	}
}

func TestCrashTruncate(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "/f")
	old := bytes.Repeat([]byte{7}, 100_000)
	write(t, f, old, 0)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, f.Truncate(4096))
	for seed := range uint64(20) {
		got := content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5}), "/f")
		if !bytes.Equal(got, old) && !bytes.Equal(got, old[:4096]) {
			t.Fatalf("a truncation survived by half: %d bytes", len(got))
		}
	}
	must(t, f.Sync())
	if got := content(t, m.CrashClone(vfs.CrashOptions{}), "/f"); !bytes.Equal(got, old[:4096]) {
		t.Fatalf("a synced truncation left %d bytes", len(got))
	}
}

// TestWriteUncached: what goes past the page cache is read through it, beside what does not, and under a new name.
func TestWriteUncached(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, dir+"/a")
		want := bytes.Repeat([]byte("0123456789abcdef"), 5*4096/16+1)
		write(t, f, want[:4096], 0)
		if _, err := f.ReadAt(make([]byte, 100), 0); err != nil { // now it is in the page cache
			t.Fatal(err)
		}
		must(t, fsys.Rename(dir+"/a", dir+"/b"))
		b := aligned(3 * 4096)
		copy(b, want[4096:])
		ok, err := f.WriteUncached(b, 4096)
		must(t, err)
		t.Logf("past the page cache: %v", ok)
		if !ok {
			if size, err := f.Size(); err != nil || size != 4096 {
				t.Fatalf("a refused write left %d bytes, %v", size, err)
			}
			write(t, f, b, 4096)
		}
		write(t, f, want[4*4096:], 4*4096)
		if got := content(t, fsys, dir+"/b"); !bytes.Equal(got, want) {
			t.Fatalf("read back %d bytes that are not those written", len(got))
		}
		must(t, f.Close())
		if _, err := f.WriteUncached(b, 4096); err == nil && ok {
			t.Error("a closed file was written to")
		}
	})
}

func TestUncachedAlignment(t *testing.T) {
	f := create(t, vfs.NewMem(), "/f")
	b := aligned(8192)
	for name, bad := range map[string]func() (bool, error){
		"offset":  func() (bool, error) { return f.WriteUncached(b[:4096], 512) },
		"length":  func() (bool, error) { return f.WriteUncached(b[:100], 0) },
		"address": func() (bool, error) { return f.WriteUncached(b[8:4104], 0) },
	} {
		if _, err := bad(); err == nil {
			t.Errorf("misaligned %s was taken", name)
		}
	}
}

// TestCrashUncached: past the page cache is not yet on stable storage.
func TestCrashUncached(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "/f")
	must(t, m.SyncDir("/"))
	b := aligned(4096)
	b[9] = 9
	if ok, err := f.WriteUncached(b, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := content(t, m.CrashClone(vfs.CrashOptions{}), "/f"); len(got) != 0 {
		t.Fatalf("%d bytes survived without a sync", len(got))
	}
	must(t, f.SyncData())
	if got := content(t, m.CrashClone(vfs.CrashOptions{}), "/f"); !bytes.Equal(got, b) {
		t.Fatalf("a sync left %d bytes", len(got))
	}
}

func TestCrashDirect(t *testing.T) {
	m := vfs.NewMem()
	f, _, err := m.OpenDirect("/j")
	must(t, err)
	must(t, m.SyncDir("/"))
	b := aligned(4096)
	b[9] = 9
	write(t, f, b, 8192)
	got := content(t, m.CrashClone(vfs.CrashOptions{}), "/j")
	if len(got) != 12288 || got[8192+9] != 9 {
		t.Fatalf("a direct write did not survive: %d bytes", len(got))
	}
}

func TestCrashNames(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	must(t, m.SyncDir("/"))
	f := create(t, m, "/d/a")
	write(t, f, []byte("one"), 0)
	must(t, f.Sync())
	exists := func(c *vfs.Mem, name string) bool {
		_, err := c.Stat(name)
		return err == nil
	}
	if exists(m.CrashClone(vfs.CrashOptions{}), "/d/a") {
		t.Fatal("a name survived without a directory sync")
	}
	if !exists(m.CrashClone(vfs.CrashOptions{KeepUnsynced: 1}), "/d/a") {
		t.Fatal("a name was lost although everything is kept")
	}
	must(t, m.SyncDir("/d"))
	must(t, vfs.WriteFile(m, "/d/b", []byte("old")))
	f2 := create(t, m, "/d/b.tmp")
	write(t, f2, []byte("new"), 0)
	must(t, f2.Sync())
	must(t, m.Rename("/d/b.tmp", "/d/b"))
	must(t, m.Remove("/d/a"))
	seen := map[string]int{}
	for seed := range uint64(60) {
		c := m.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5})
		state := string(content(t, c, "/d/b"))
		if exists(c, "/d/a") {
			state += "+a"
		}
		if exists(c, "/d/b.tmp") {
			state += "+tmp"
		}
		seen[state]++
	}
	for _, want := range []string{"old", "old+a", "old+tmp", "new", "new+a"} {
		if seen[want] == 0 {
			t.Errorf("no crash left %q: %v", want, seen)
		}
	}
	if seen["new+tmp"] != 0 {
		t.Errorf("a rename survived by half: %v", seen)
	}
}

// TestVolume: a sync of the volume covers every file and every name, and what comes after is not covered.
func TestVolume(t *testing.T) {
	m := vfs.NewMem()
	fault := vfs.NewFault(m)
	must(t, fault.MkdirAll("/d/e"))
	f := create(t, fault, "/d/e/a")
	write(t, f, []byte("first"), 0)
	v, err := fault.OpenVolume("/d")
	must(t, err)
	must(t, v.Sync())
	write(t, f, []byte("after"), 5)
	must(t, fault.Rename("/d/e/a", "/d/e/b"))
	left := m.CrashClone(vfs.CrashOptions{})
	if got := content(t, left, "/d/e/a"); string(got) != "first" {
		t.Fatalf("left %q, want %q", got, "first")
	}
	fault.Inject(vfs.Rule{Kind: vfs.OpSync, Path: "/d", Err: syscall.EIO})
	if err := v.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a sync that fails says %v", err)
	}
	must(t, v.Close())
}

// TestOSVolume: where the system can, it syncs; else it says that it cannot.
func TestOSVolume(t *testing.T) {
	dir := t.TempDir()
	v, err := vfs.OS{}.OpenVolume(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the volume of the temporary directory cannot be synced as a whole")
	}
	must(t, err)
	write(t, create(t, vfs.OS{}, path.Join(dir, "a")), []byte("a"), 0)
	must(t, v.Sync())
	must(t, v.Close())
	if _, err := (vfs.OS{}).OpenVolume(path.Join(dir, "none")); err == nil {
		t.Fatal("the volume of a directory that is not there was opened")
	}
}

func TestWriteFileSurvives(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	must(t, m.SyncDir("/"))
	must(t, vfs.WriteFile(m, "/d/f", []byte("1")))
	fault := vfs.NewFault(m)
	states := map[string]int{}
	fault.OnOp(func(vfs.Op) {
		for seed := range uint64(10) {
			states[string(content(t, m.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5}), "/d/f"))]++
		}
	})
	must(t, vfs.WriteFile(fault, "/d/f", []byte("2")))
	if len(states) != 2 || states["1"] == 0 || states["2"] == 0 {
		t.Fatalf("states after crashes: %v, want 1 and 2 only", states)
	}
	if fault.Ops() != 6 { // create, write, sync, close, rename, syncdir
		t.Fatalf("%d operations", fault.Ops())
	}
	if got := content(t, m.CrashClone(vfs.CrashOptions{}), "/d/f"); string(got) != "2" {
		t.Fatalf("%q survived, want 2", got)
	}
}

func TestFaultRules(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "/x.log")
	f.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: "*.log", After: 1, Count: 1, Err: syscall.ENOSPC, Short: 2})
	f.Inject(vfs.Rule{Kind: vfs.OpSync, Err: syscall.EIO})
	write(t, file, []byte("abc"), 0)
	if n, err := file.WriteAt([]byte("def"), 3); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("short write = %d, %v", n, err)
	}
	write(t, file, []byte("g"), 5)
	if err := file.SyncData(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync = %v", err)
	}
	f.Clear()
	must(t, file.Sync())
	if got := content(t, f, "/x.log"); string(got) != "abcdeg" {
		t.Fatalf("content %q", got)
	}
	if _, ok := file.Fd(); ok {
		t.Fatal("a faulty file offers its descriptor")
	}
}

func TestCapacity(t *testing.T) {
	m := vfs.NewUntrackedMem()
	m.SetCapacity(1 << 20)
	f := create(t, m, "/f")
	if _, err := f.WriteAt(make([]byte, 2<<20), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write beyond the capacity: %v", err)
	}
	must(t, f.Truncate(0))
	write(t, f, make([]byte, 512<<10), 0)
	must(t, m.Remove("/f"))
	if u, err := m.Usage("/"); err != nil || u.FreeBytes != 1<<20 {
		t.Fatalf("after removal: %+v, %v", u, err)
	}
}

func TestReadFileLimit(t *testing.T) {
	m := vfs.NewMem()
	must(t, vfs.WriteFile(m, path.Join("/", "f"), make([]byte, 10)))
	if _, err := vfs.ReadFile(m, "/f", 9); err == nil {
		t.Fatal("a file larger than the limit was read")
	}
}

func BenchmarkMemAppend(b *testing.B) {
	for name, m := range map[string]*vfs.Mem{"tracked": vfs.NewMem(), "untracked": vfs.NewUntrackedMem()} {
		b.Run(name, func(b *testing.B) {
			f, err := m.Create("/f")
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, 16<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for i := range b.N {
				if _, err := f.WriteAt(p, int64(i%4096)*int64(len(p))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
