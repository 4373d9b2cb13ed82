// CUDA graphs. Without CUDA's headers the same functions say that they are not there.
#include "shim.h"

using kinestream::caught;

#ifdef KINESTREAM_CUDA

#include <memory>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/StreamGuard.h>

using kinestream::unpacked;

namespace {

// A graph with memory of its own. The device's allocator is told by hand to forget a capture that failed: LibTorch leaves it
// waiting for the end of it.
struct Graph {
  at::cuda::CUDAGraph graph;
  at::MempoolId_t pool = at::cuda::graph_pool_handle();
  c10::DeviceIndex device;

  explicit Graph(c10::DeviceIndex index) : device(index) {}

  void give_up() {
    // Only an ended capture has a pool; its destructor sees to that one.
    if (char* text = caught([&] { graph.pool(); })) {
      free(text);
    } else {
      return;
    }
    auto* host = at::getHostAllocator(at::kCUDA);
    const auto quietly = [](auto&& work) { free(caught(work)); };
    quietly([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool); });
    quietly([&] { c10::cuda::CUDACachingAllocator::releasePool(device, pool); });
    quietly([&] { host->end_allocate_to_pool(pool); });
    quietly([&] { host->release_pool(pool); });
  }
};

} // namespace

extern "C" {

char* kinestream_graph_begin(int64_t device, void** out) {
  return caught([&] {
    auto graph = std::make_unique<Graph>(static_cast<c10::DeviceIndex>(device));
    try {
      // Other threads may go on using the device as they like.
      graph->graph.capture_begin(graph->pool, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      graph->give_up();
      throw;
    }
    *out = graph.release();
  });
}

char* kinestream_graph_end(void* handle) {
  auto* graph = static_cast<Graph*>(handle);
  return caught([&] {
    try {
      graph->graph.capture_end();
    } catch (...) {
      graph->give_up();
      throw;
    }
  });
}

char* kinestream_graph_replay(void* handle, const kinestream_stream* stream) {
  return caught([&] {
    const auto on = unpacked(stream);
    const c10::StreamGuard guard(on);
    static_cast<Graph*>(handle)->graph.replay();
    on.synchronize();
  });
}

void kinestream_graph_free(void* handle) {
  delete static_cast<Graph*>(handle);
}

} // extern "C"

#else

namespace {

char* absent() {
  return kinestream::text_of("this program was built without CUDA graphs");
}

} // namespace

extern "C" {

char* kinestream_graph_begin(int64_t, void**) {
  return absent();
}

char* kinestream_graph_end(void*) {
  return absent();
}

char* kinestream_graph_replay(void*, const kinestream_stream*) {
  return absent();
}

void kinestream_graph_free(void*) {}

} // extern "C"

#endif
