// Inference mode, streams, copies that do not wait, AOTInductor packages: what LibTorch's own headers suffice for. Streams go
// through its device-neutral interface, so that this file is the same with and without CUDA.
#include "shim.h"

#include <dlfcn.h>

#include <memory>
#include <string>
#include <vector>

#include <ATen/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

using kinestream::caught;
using kinestream::unpacked;

namespace {

using Package = torch::inductor::AOTIModelPackageLoader;

c10::impl::VirtualGuardImpl cuda() {
  return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA);
}

c10::Device device_of(int64_t index) {
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

kinestream_stream packed(c10::Stream stream) {
  return {stream.id(), stream.device_index()};
}

// Packages ask for libtorch.so by that name. Where it is a link to libtorch_cpu.so no loaded library answers to the name, and
// the dynamic linker does not look for it in the program's run path on behalf of another library. Asked for from here it does,
// finds the library that is loaded, and remembers the name.
void name_libtorch() {
  static void* const library = dlopen("libtorch.so", RTLD_LAZY | RTLD_LOCAL);
  (void)library;
}

// How many tensors a description of a function's arguments names: those are what has no type of its own in it.
size_t leaves(const std::string& description) {
  const std::string leaf = "\"type\": null";
  size_t count = 0;
  for (size_t at = 0; (at = description.find(leaf, at)) != std::string::npos; at += leaf.size()) {
    ++count;
  }
  return count;
}

} // namespace

extern "C" {

void kinestream_text_free(char* text) {
  free(text);
}

char* kinestream_inference_enter(void** guard) {
  return caught([&] { *guard = new c10::InferenceMode(true); });
}

void kinestream_inference_leave(void* guard) {
  delete static_cast<c10::InferenceMode*>(guard);
}

// Whether this LibTorch has CUDA, be there a device or not.
bool kinestream_cuda_linked() {
  return c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA);
}

char* kinestream_stream_of_pool(int64_t device, kinestream_stream* stream) {
  return caught([&] { *stream = packed(cuda().getStreamFromGlobalPool(device_of(device))); });
}

char* kinestream_stream_current(int64_t device, kinestream_stream* stream) {
  return caught([&] { *stream = packed(cuda().getStream(device_of(device))); });
}

char* kinestream_stream_synchronise(const kinestream_stream* stream) {
  return caught([&] { unpacked(stream).synchronize(); });
}

char* kinestream_stream_enter(const kinestream_stream* stream, void** guard) {
  return caught([&] { *guard = new c10::StreamGuard(unpacked(stream)); });
}

char* kinestream_stream_leave(void* guard) {
  return caught([&] { delete static_cast<c10::StreamGuard*>(guard); });
}

char* kinestream_copy(at::Tensor* to, const at::Tensor* from) {
  return caught([&] { to->copy_(*from, /*non_blocking=*/true); });
}

char* kinestream_package_load(const char* path, int64_t cuda_device, void** package) {
  return caught([&] {
    name_libtorch();
    const auto device = static_cast<c10::DeviceIndex>(cuda_device);
    // One thread runs a package at a time; what keeps several apart records events that no graph can capture.
    *package = new Package(path, "model", /*run_single_threaded=*/true, /*num_runners=*/1, device);
  });
}

// The kind of device that a package is for, as a text for kinestream_text_free; how many tensors it takes; and how many
// numbers its constants, parameters mostly, have.
char* kinestream_package_describe(void* handle, char** device, size_t* inputs, size_t* constants) {
  return caught([&] {
    auto* package = static_cast<Package*>(handle);
    *inputs = leaves(package->get_call_spec().at(0));
    *constants = 0;
    for (const auto& [name, tensor] : package->get_runner()->extract_constants_map(/*use_inactive=*/false)) {
      *constants += static_cast<size_t>(tensor.numel());
    }
    const auto metadata = package->get_metadata();
    const auto found = metadata.find("AOTI_DEVICE_KEY");
    *device = kinestream::text_of(found == metadata.end() ? "" : found->second.c_str());
  });
}

// `outputs` becomes a std::vector of tensors and `count` its length.
char* kinestream_package_run(
    void* package,
    const at::Tensor* const* inputs,
    size_t inputs_count,
    void** outputs,
    size_t* count) {
  return caught([&] {
    std::vector<at::Tensor> tensors;
    tensors.reserve(inputs_count);
    for (size_t index = 0; index < inputs_count; ++index) {
      tensors.push_back(*inputs[index]);
    }
    auto found = std::make_unique<std::vector<at::Tensor>>(static_cast<Package*>(package)->run(tensors));
    *count = found->size();
    *outputs = found.release();
  });
}

char* kinestream_outputs_take(void* outputs, size_t index, at::Tensor** tensor) {
  return caught([&] { *tensor = new at::Tensor(static_cast<std::vector<at::Tensor>*>(outputs)->at(index)); });
}

void kinestream_outputs_free(void* outputs) {
  delete static_cast<std::vector<at::Tensor>*>(outputs);
}

void kinestream_package_free(void* package) {
  delete static_cast<Package*>(package);
}

} // extern "C"
