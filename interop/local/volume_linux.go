package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is an ext4 file system of its own on a loop device.
type Volume struct {
	Mount string

	image   string
	mounted bool
}

const (
	// ext4Shutdown is EXT4_IOC_SHUTDOWN; noLogFlush drops whatever is not on the disk yet, data and metadata.
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// NewVolume makes and mounts one. An error that is a *NotHere says that this machine has none.
func NewVolume(ctx context.Context, dir string, size int64) (*Volume, error) {
	if os.Geteuid() != 0 {
		return nil, &NotHere{errors.New("mounting a volume needs root")}
	}
	v := &Volume{image: filepath.Join(dir, "image"), Mount: filepath.Join(dir, "mnt")}
	if err := os.MkdirAll(v.Mount, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(v.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	if err := Command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", v.image); err != nil {
		return nil, &NotHere{err}
	}
	if err := v.Up(ctx); err != nil {
		return nil, &NotHere{err}
	}
	return v, nil
}

// Up mounts it.
func (v *Volume) Up(ctx context.Context) error {
	err := Command(ctx, "mount", "-o", "loop,commit=300", v.image, v.Mount)
	v.mounted = err == nil
	return err
}

// Down unmounts it; nothing may be open on it.
func (v *Volume) Down() error {
	if !v.mounted {
		return nil
	}
	v.mounted = false
	if err := Command(context.Background(), "umount", v.Mount); err != nil {
		return err
	}
	return v.awaitFree()
}

// awaitFree waits until the loop device is gone. A process that has just got a mount namespace of its own, as ip netns
// exec makes, has a copy of every mount, and until it ends the next mount would find the file system as it was shut down.
// See OwnMounts for those that are none of this program's.
func (v *Volume) awaitFree() error {
	for range 1000 {
		used := false
		names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		if err != nil {
			return err
		}
		for _, name := range names {
			file, err := os.ReadFile(name)
			used = used || err == nil && strings.TrimSpace(string(file)) == v.image
		}
		if !used {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s is unmounted, and in use still: another mount namespace has it", v.image)
}

// Cut loses everything that is not on the disk, and fails every write from here on.
func (v *Volume) Cut() error {
	d, err := os.Open(v.Mount)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), ext4Shutdown, noLogFlush); err != nil {
		return fmt.Errorf("shut %s down: %w", v.Mount, err)
	}
	return nil
}
