package cli

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestShows: a change is shown once every value that was set is; one that is hidden, appended or taken back is not waited for.
func TestShows(t *testing.T) {
	value := func(s string) *string { return &s }
	rows := []configRow{{Key: "retention.ms", Value: value("2")}, {Key: "ssl.key.password", Sensitive: true}}
	for _, tt := range []struct {
		op   kadm.AlterConfig
		want bool
	}{
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: value("2")}, true},
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: value("4")}, false},
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.bytes", Value: value("4")}, false},
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "ssl.key.password", Value: value("secret")}, true},
		{kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.bytes"}, true},
	} {
		if got := shows(rows, []kadm.AlterConfig{tt.op}); got != tt.want {
			t.Errorf("%+v is shown: %v, want %v", tt.op, got, tt.want)
		}
	}
}
