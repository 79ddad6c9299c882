package controller

import (
	"github.com/logstead/logstead/internal/cluster/meta"
)

// Metadata is how a node sees the cluster's metadata: its own controller, or an Observer of one.
type Metadata interface {
	// Image is the newest published image.
	Image() *meta.Image
	// Subscribe has fn called with every image published from now on, in order.
	Subscribe(fn func(old, now *meta.Image, d meta.Delta))
	// EndOffset is the offset after the last published record.
	EndOffset() int64
	// Leader is the active controller and its epoch as this node knows them; the id is -1 for none.
	Leader() (id, epoch int32)
}

var _ Metadata = (*Controller)(nil)
