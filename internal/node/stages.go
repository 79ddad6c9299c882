package node

import (
	"context"
	"sync"
)

// stack is what runs, in the order it was started.
type stack struct{ running []*stage }

type stage struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *stack) push(name string, run func(context.Context) error, ended func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	st := &stage{name: name, cancel: cancel}
	st.done.Go(func() { ended(run(ctx)) })
	s.running = append(s.running, st)
}

// stop ends everything in the reverse order.
func (s *stack) stop() {
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].cancel()
		s.running[i].done.Wait()
	}
}
