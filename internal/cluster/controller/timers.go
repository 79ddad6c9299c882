package controller

import (
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Begin is called once when this node has become the active controller and every committed record
// is applied: what the machine knows beside the image (who is alive, what is due) starts anew. The
// records are written as an operation.
func (m *Machine) Begin(time.Time) []kmsg.Record { return nil }

// Tick does what is due by now. It is called again at next, or earlier; a zero next is never.
func (m *Machine) Tick(time.Time) (records []kmsg.Record, next time.Time) { return nil, time.Time{} }
