package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by release builds with -ldflags "-X …/cli.Version=1.2.3".
var Version = ""

type versionInfo struct {
	Version  string `json:"version" col:"VERSION"`
	Revision string `json:"revision,omitempty" col:"REVISION,wide"`
	Go       string `json:"go" col:"GO"`
	Platform string `json:"platform" col:"PLATFORM"`
	Baseline string `json:"kafka_baseline" col:"KAFKA"`
}

// kafkaBaseline is the Apache Kafka version whose behaviour logstead follows.
const kafkaBaseline = "4.3"

func versionCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: examples("", "logstead version", "", "logstead version -o json"),
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return a.emit(readVersion()) },
	}
}

func readVersion() versionInfo {
	v := versionInfo{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Baseline: kafkaBaseline}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "dev"
		if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
	}
	return v
}

// clientVersion is what brokers are told; it may hold only letters, digits, dots and dashes.
func clientVersion() string {
	v := []byte(readVersion().Version)
	for i, c := range v {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-'
		if !ok {
			v[i] = '-'
		}
	}
	return string(v)
}
