package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// find returns the object at this path of the inventory, nil if there is none.
func find(path string) mo.Reference {
	index := simulator.Map.SearchIndex()
	body := index.FindByInventoryPath(&types.FindByInventoryPath{This: index.Self, InventoryPath: path})
	ref := body.(*methods.FindByInventoryPathBody).Res.Returnval
	if ref == nil {
		return nil
	}
	return simulator.Map.Get(*ref)
}

// addVms puts VMs that nobody cloned into a folder, each with this annotation.
func addVms(folder string, names []string, annotation string, on bool) {
	parent, ok := find(folder).(*simulator.Folder)
	if !ok {
		return
	}
	pool := find("/DC0/host/DC0_C0/Resources").(*simulator.ResourcePool)
	for _, name := range names {
		made := parent.CreateVMTask(inside, &types.CreateVM_Task{
			This: parent.Self,
			Pool: pool.Self,
			Config: types.VirtualMachineConfigSpec{
				Name:       name,
				Annotation: annotation,
				GuestId:    string(types.VirtualMachineGuestOsIdentifierOtherGuest),
				Files:      &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
			},
		})
		vm := resultOf(made.(*methods.CreateVM_TaskBody).Res.Returnval)
		if on && vm != nil {
			vm.PowerOnVMTask(inside, &types.PowerOnVM_Task{This: vm.Self})
		}
	}
}

// removeVms destroys the VMs of a folder.
func removeVms(folder string) {
	parent := find(folder).(*simulator.Folder)
	for _, child := range append([]types.ManagedObjectReference{}, parent.ChildEntity...) {
		if vm, ok := simulator.Map.Get(child).(*simulator.VirtualMachine); ok {
			vm.PowerOffVMTask(inside, &types.PowerOffVM_Task{This: child})
			destroyed := vm.DestroyTask(inside, &types.Destroy_Task{This: child}).(*methods.Destroy_TaskBody)
			if failed := simulator.Map.Get(destroyed.Res.Returnval).(*simulator.Task).Info.Error; failed != nil {
				panic(failed.LocalizedMessage)
			}
		}
	}
}

// vmsAt describes the VMs of a folder, for a test that looks past the API.
func vmsAt(folder string) []map[string]any {
	seen := []map[string]any{}
	parent, ok := find(folder).(*simulator.Folder)
	if !ok {
		return seen
	}
	for _, child := range parent.ChildEntity {
		if vm, ok := simulator.Map.Get(child).(*simulator.VirtualMachine); ok {
			seen = append(seen, describe(vm))
		}
	}
	return seen
}

func describe(vm *simulator.VirtualMachine) map[string]any {
	extra := map[string]any{}
	for _, option := range vm.Config.ExtraConfig {
		value := option.GetOptionValue()
		extra[value.Key] = value.Value
	}
	disks, network := []map[string]any{}, ""
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			disks = append(disks, map[string]any{
				"file": backing.FileName, "kilobytes": disk.CapacityInKB, "has_parent": backing.Parent != nil,
			})
		}
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			if info := card.GetVirtualEthernetCard().DeviceInfo; info != nil {
				network = info.GetDescription().Summary
			}
		}
	}
	host := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	return map[string]any{
		"name": vm.Name, "annotation": vm.Config.Annotation, "power": vm.Runtime.PowerState, "extra": extra,
		"disks": disks, "host": host.Name, "network": network, "address": vm.Guest.IpAddress,
	}
}
