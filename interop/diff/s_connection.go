package main

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frameOf makes a frame of an API key, a version and a body, with the oldest request header.
func frameOf(key, version int16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, 0xffff)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// rawStep sends bytes as they are; without answerTo the broker is to close the connection.
func rawStep(name string, frame []byte, answerTo kmsg.Request) step {
	return step{name: name, raw: func(*vars) []byte { return frame }, answerTo: answerTo}
}

func connectionScenarios() []scenario {
	v0 := kmsg.NewPtrApiVersionsRequest()
	v0.SetVersion(0)
	software := func(name, version string) func(*vars, *kmsg.ApiVersionsRequest) {
		return func(_ *vars, r *kmsg.ApiVersionsRequest) {
			r.ClientSoftwareName, r.ClientSoftwareVersion = name, version
		}
	}
	return []scenario{
		{"api-versions", []step{
			ask("every version", each, kmsg.NewPtrApiVersionsRequest, software("diff", "1.0")),
			rawStep("a version of the future", frameOf(18, 99), v0),
			rawStep("a negative version", frameOf(18, -1), v0),
			ask("an empty software name", 3, kmsg.NewPtrApiVersionsRequest, software("", "1")),
			ask("a software name with a space", 3, kmsg.NewPtrApiVersionsRequest, software("a b", "1")),
			ask("a software version that ends in a dash", 3, kmsg.NewPtrApiVersionsRequest, software("a", "1-")),
			ask("after the errors", high, kmsg.NewPtrApiVersionsRequest, software("a", "1")),
		}},
		{"closing", []step{
			rawStep("unknown key 200", frameOf(200, 0), nil),
			rawStep("negative key", frameOf(-1, 0), nil),
			rawStep("LeaderAndIsr, which is gone", frameOf(4, 0), nil),
			rawStep("Metadata of the future", frameOf(3, 99), nil),
			rawStep("Fetch v3, which is gone", frameOf(1, 3), nil),
			rawStep("Produce v2, which is gone", frameOf(0, 2), nil),
			rawStep("Vote, of controllers only", frameOf(52, 0), nil),
			rawStep("Metadata cut off", frameOf(3, 1, 0, 0, 0, 9, 0), nil),
			rawStep("Metadata with a lying count", frameOf(3, 1, 0x7f, 0xff, 0xff, 0xff), nil),
			rawStep("a negative size", []byte{0xff, 0xff, 0xff, 0xff}, nil),
			rawStep("a giant size", []byte{0x7f, 0xff, 0xff, 0xff}, nil),
			rawStep("an empty frame", []byte{0, 0, 0, 0}, nil),
			rawStep("half a header", []byte{0, 0, 0, 3, 0, 18, 0}, nil),
			ask("a fresh connection works", 0, kmsg.NewPtrApiVersionsRequest),
		}},
	}
}
