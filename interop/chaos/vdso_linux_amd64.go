package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const clockMissing = ""

// vdso is the code that the kernel maps into a process, by which it reads the clock.
type vdso struct {
	at    int64 // where it is mapped
	entry int64 // of clock_gettime
	free  int64 // zeros after the image, in a page that may be executed
	head  []byte
}

const (
	jumpBytes  = 5
	patchBytes = 24
)

// skewedClock is x86-64 code for clock_gettime that asks the kernel and adds seconds to the wall clock. What is monotonic
// stays as it is.
func skewedClock(seconds int32) []byte {
	code := []byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, 228: clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME
		0x75, 0x07, // jnz to ret
		0x48, 0x81, 0x06, // add qword [rsi], seconds
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(seconds))
	return append(code, 0xc3) // ret
}

// readVDSO finds what setClock needs in a process.
func readVDSO(pid int, mem *os.File) (vdso, error) {
	var v vdso
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return v, err
	}
	var end int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &v.at, &end); err != nil {
				return v, err
			}
		}
	}
	image := make([]byte, end-v.at)
	if _, err := mem.ReadAt(image, v.at); err != nil {
		return v, fmt.Errorf("read the vDSO of process %d: %w", pid, err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return v, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return v, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			v.entry = v.at + int64(s.Value)
		}
	}
	v.free = end - patchBytes
	if v.entry == 0 || len(bytes.Trim(image[len(image)-patchBytes:], "\x00")) > 0 && image[len(image)-patchBytes] != 0xb8 {
		return v, errors.New("the vDSO has no clock_gettime, or no room after it")
	}
	v.head = image[v.entry-v.at:][:jumpBytes]
	return v, nil
}

// setClock shifts the wall clock of one process alone: it lays a jump over the code by which that process reads it, as a
// debugger lays a breakpoint. It returns what puts the code back.
func setClock(pid int, by time.Duration) (back func() error, err error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	v, err := readVDSO(pid, mem)
	if err != nil {
		return nil, err
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(int32(v.free-v.entry-jumpBytes)))
	err = stopped(pid, v.entry, func() error {
		_, err1 := mem.WriteAt(skewedClock(int32(by/time.Second)), v.free)
		_, err2 := mem.WriteAt(jump, v.entry)
		return errors.Join(err1, err2)
	})
	return func() error {
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
		if err != nil {
			return nil // the process is gone, and its clock with it
		}
		defer mem.Close()
		return stopped(pid, v.entry, func() error { _, err := mem.WriteAt(v.head, v.entry); return err })
	}, err
}

// stopped runs fn while a process stands still with no thread in the bytes that are to change.
func stopped(pid int, entry int64, fn func() error) error {
	for range 50 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		clear, err := threadsClear(pid, entry)
		if err == nil && clear {
			err = fn()
		}
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
		if err != nil || clear {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("process %d is never out of its clock", pid)
}

// threadsClear waits until all threads stand still, and says whether none is at entry.
func threadsClear(pid int, entry int64) (bool, error) {
	deadline := time.Now().Add(2 * time.Second)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return false, err
	}
	for _, task := range tasks {
		for {
			text, err := os.ReadFile(filepath.Join(task, "syscall"))
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				break
			}
			if err != nil {
				return false, err
			}
			fields := strings.Fields(string(text))
			if len(fields) >= 3 { // else it runs still
				pc, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
				if err != nil {
					return false, err
				}
				if pc >= entry && pc < entry+jumpBytes {
					return false, nil
				}
				break
			}
			if time.Now().After(deadline) {
				return false, fmt.Errorf("%s does not stand still", task)
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	return true, nil
}
