package controller

import (
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestControllersFeatures asks the registered controllers before a feature goes up.
func TestControllersFeatures(t *testing.T) {
	h := newHarness(t, "")
	h.done(bootstrapRecords(newestLevels()), nil)
	h.m.cfg.Voters = func() []int32 { return []int32{1, 2} }
	enter := func(id int32, maxLevel int16) {
		t.Helper()
		records, resp := h.m.RegisterController(&kmsg.ControllerRegistrationRequest{
			ControllerId: id, IncarnationId: base.TopicID{15: byte(maxLevel)},
			Listeners: []kmsg.ControllerRegistrationRequestListener{{Name: "CONTROLLER", Host: "h", Port: 9093}},
			Features: []kmsg.ControllerRegistrationRequestFeature{
				{Name: TransactionVersion, MaxSupportedVersion: maxLevel}, {Name: MetadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: 30},
			},
		})
		if resp.ErrorCode != 0 || resp.ErrorMessage != nil {
			t.Fatalf("%+v", resp)
		}
		h.done(records, nil)
	}
	change := func(level int16, kind int8, want string) {
		t.Helper()
		records, resp := h.m.UpdateFeatures(2, &kmsg.UpdateFeaturesRequest{FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdateKey{
			{Feature: TransactionVersion, MaxVersionLevel: level, UpgradeType: kind},
		}})
		got := ""
		if resp.ErrorMessage != nil {
			got = *resp.ErrorMessage
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("to level %d: %q, want %q", level, got, want)
		}
		h.done(records, nil)
	}
	change(1, safeDowngrade, "") // also where a controller has not registered
	change(2, upgradeOnly, "controller 2 has not registered, and may not support this feature")
	enter(2, 1)
	change(2, upgradeOnly, "Controller 2 only supports versions 0-1")
	enter(3, 1) // no voter
	enter(2, 2)
	change(2, upgradeOnly, "")
	if c := h.m.image().Controller(2); len(h.m.image().Controllers()) != 2 || c.Endpoints[0].Port != 9093 || c.Incarnation[15] != 2 {
		t.Errorf("registered %+v", c)
	}

	h = newHarness(t, "")
	h.done([]kmsg.Record{&kmsg.FeatureLevelRecord{Name: MetadataVersion, FeatureLevel: levelControllers - 1}}, nil)
	h.m.cfg.Voters = func() []int32 { return []int32{1, 2} }
	if records, resp := h.m.RegisterController(&kmsg.ControllerRegistrationRequest{ControllerId: 1}); len(records) > 0 || resp.ErrorCode != 35 ||
		*resp.ErrorMessage != "The current MetadataVersion is too old to support controller registrations." {
		t.Errorf("%+v", resp)
	}
}
