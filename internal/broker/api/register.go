package api

import (
	"sync"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// entry is one row of the API table: how to decode a request and whom to give it to.
type entry struct {
	api *kmsg.API
	// serve decodes the body and runs the handler; an error means the bytes were not a request.
	serve func(b *Broker, c *Call) error
}

// table holds every API this broker serves, by key. It is filled while the package's variables are
// initialised and never changes afterwards; ApiVersions, dispatch and the metric labels read it.
var table = map[int16]*entry{}

type requestPtr[T any] interface {
	*T
	kmsg.Request
}

// register adds an API to the table. Each NN_name.go calls it once.
func register[T any, P requestPtr[T]](key int16, handle func(*Broker, *Call, P)) *entry {
	return add(key, func(b *Broker, c *Call) error {
		req := P(new(T))
		r := kmsg.NewReader(c.Body)
		if err := req.Read(&r, c.Version); err != nil {
			return err
		}
		handle(b, c, req)
		return nil
	})
}

// registerHot is register for the data path: requests are decoded into pooled structs whose
// strings and bytes alias the frame. The handler must not keep anything of the request after it
// returns.
func registerHot[T any, P requestPtr[T]](key int16, handle func(*Broker, *Call, P)) *entry {
	type decoder struct {
		req T
		r   kmsg.Reader // here, for it would be allocated if it were a local variable
	}
	pool := sync.Pool{New: func() any { return new(decoder) }}
	return add(key, func(b *Broker, c *Call) error {
		d, _ := pool.Get().(*decoder)
		defer pool.Put(d)
		d.r = kmsg.NewReader(c.Body)
		d.r.Unsafe = true
		req := P(&d.req)
		if err := req.Read(&d.r, c.Version); err != nil {
			return err
		}
		handle(b, c, req)
		return nil
	})
}

func add(key int16, serve func(*Broker, *Call) error) *entry {
	if table[key] != nil {
		panic("api: registered twice: " + kmsg.ByKey(key).Name)
	}
	e := &entry{api: kmsg.ByKey(key), serve: serve}
	table[key] = e
	return e
}
