package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/logstead/logstead/interop/local"
)

// fabric is the switch between the hosts. Host 0 is the clients'.
type fabric struct {
	rules *rules
	hosts []*host
	own   *os.File // the namespace that this process began in
	// missing says why all hosts are this machine itself: faults of the network are left out.
	missing error
	wg      sync.WaitGroup
}

// host is a network namespace with one TUN device.
type host struct {
	id   byte
	name string
	ns   *os.File
	tun  *os.File
	out  chan []byte
	done chan struct{}
}

const (
	subnet      = "10.77.0."
	mtu         = 65520
	outboxDepth = 1024
)

// addr is the address of a host.
func (h *host) addr() string {
	if h.ns == nil {
		return "127.0.0.1"
	}
	return fmt.Sprintf("%s%d", subnet, h.id)
}

// loopback is n+1 hosts that are this machine itself.
func loopback(n int, why error) *fabric {
	f := &fabric{rules: newRules(0), missing: why}
	for i := range n + 1 {
		f.hosts = append(f.hosts, &host{id: byte(i + 1), done: make(chan struct{})})
	}
	return f
}

// newFabric makes n+1 hosts, named by this process so that two runs do not meet.
func newFabric(ctx context.Context, n int, seed uint64) (*fabric, error) {
	if os.Geteuid() != 0 {
		return nil, &local.NotHere{Why: errors.New("network namespaces need root")}
	}
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, &local.NotHere{Why: err}
	}
	f := &fabric{rules: newRules(seed), own: own}
	for i := range n + 1 {
		h := &host{
			id: byte(i + 1), name: fmt.Sprintf("chaos%d-%d", os.Getpid(), i+1),
			out: make(chan []byte, outboxDepth), done: make(chan struct{}),
		}
		f.hosts = append(f.hosts, h)
		if err := f.open(ctx, h); err != nil {
			return nil, errors.Join(&local.NotHere{Why: err}, f.close())
		}
	}
	for _, h := range f.hosts {
		f.wg.Go(func() { f.read(h) })
		f.wg.Go(h.write)
	}
	return f, nil
}

// open makes a host's namespace and device.
func (f *fabric) open(ctx context.Context, h *host) error {
	if err := local.Command(ctx, "ip", "netns", "add", h.name); err != nil {
		return err
	}
	var err error
	if h.ns, err = os.Open("/run/netns/" + h.name); err != nil {
		return err
	}
	if err := f.inside(h, func() error { h.tun, err = openTUN("t0"); return err }); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", h.addr() + "/24", "dev", "t0"},
		{"link", "set", "t0", "mtu", fmt.Sprint(mtu), "up"},
	} {
		if err := local.Command(ctx, "ip", append([]string{"-n", h.name}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// openTUN opens a device of the calling thread's namespace.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req := struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_TUN | unix.IFF_NO_PI}
	copy(req.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req))); errno != 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("make TUN device %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// inside runs fn on a thread that is in the host's namespace: sockets and processes made by fn stay there.
func (f *fabric) inside(h *host, fn func() error) error {
	if h.ns == nil {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter namespace %s: %w", h.name, err)
			return
		}
		err := fn()
		if back := unix.Setns(int(f.own.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // else the thread ends with this goroutine
		}
		done <- err
	}()
	return <-done
}

// dial connects from the clients' host.
func (f *fabric) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: 2 * time.Second, FallbackDelay: -1}
	if e := f.inside(f.hosts[0], func() error { c, err = d.DialContext(ctx, network, addr); return err }); e != nil {
		return nil, e
	}
	return c, nil
}

// read takes what a host sends and gives it to whom it is for.
func (f *fabric) read(h *host) {
	buf := make([]byte, mtu+64)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return
		}
		dst, ok := destination(buf[:n])
		if !ok || dst < 1 || int(dst) > len(f.hosts) || dst == h.id {
			continue
		}
		v := f.rules.decide(h.id, dst, ports(buf[:n]))
		for i := range v.n {
			p := append([]byte(nil), buf[:n]...)
			to := f.hosts[dst-1]
			if v.after[i] == 0 {
				to.put(p)
				continue
			}
			time.AfterFunc(v.after[i], func() { to.put(p) })
		}
	}
}

// destination is the last byte of the address that an IPv4 packet of our subnet goes to.
func destination(p []byte) (byte, bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[16] != 10 || p[17] != 77 || p[18] != 0 {
		return 0, false
	}
	return p[19], true
}

// ports are those of a TCP packet: where it comes from, where it goes.
func ports(p []byte) [2]uint16 {
	head := int(p[0]&0xf) * 4
	if p[9] != unix.IPPROTO_TCP || len(p) < head+4 {
		return [2]uint16{}
	}
	return [2]uint16{binary.BigEndian.Uint16(p[head:]), binary.BigEndian.Uint16(p[head+2:])}
}

// put queues a packet; like a switch, it drops what does not fit.
func (h *host) put(p []byte) {
	select {
	case h.out <- p:
	default:
	}
}

func (h *host) write() {
	for {
		select {
		case p := <-h.out:
			_, _ = h.tun.Write(p) // a device that is down loses the packet
		case <-h.done:
			return
		}
	}
}

// reset breaks every connection between two hosts, as a middlebox does, and tells how many there were.
func (f *fabric) reset(ctx context.Context, a, b *host) (int, error) {
	var out []byte
	// Not ip netns exec: it copies every mount into a namespace of its own, and so keeps volumes in use.
	err := f.inside(a, func() (err error) {
		out, err = exec.CommandContext(ctx, "ss", "-H", "-t", "-K", "dst", b.addr()).CombinedOutput()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ss -K: %w: %s", err, out)
	}
	return strings.Count(string(out), "\n"), nil
}

func (f *fabric) close() error {
	var errs []error
	for _, h := range f.hosts {
		if h.tun != nil {
			errs = append(errs, h.tun.Close())
		}
		close(h.done)
	}
	f.wg.Wait()
	for _, h := range f.hosts {
		if h.ns != nil {
			errs = append(errs, h.ns.Close(), local.Command(context.Background(), "ip", "netns", "del", h.name))
		}
	}
	if f.own != nil {
		errs = append(errs, f.own.Close())
	}
	return errors.Join(errs...)
}
