// What the functions of both files share: no exception leaves one of them.
//
// A function that can fail returns null when it did what it is for, and otherwise a text that says why it did not, which
// kinestream_text_free takes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>

#include <c10/core/Stream.h>
#include <c10/util/Exception.h>

namespace kinestream {

inline char* text_of(const char* words) {
  char* text = strdup(words);
  // Null would say that all went well.
  if (text == nullptr) {
    std::abort();
  }
  return text;
}

template <typename Work>
char* caught(Work&& work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    return text_of(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return text_of(error.what());
  } catch (...) {
    return text_of("an exception that says nothing");
  }
}

} // namespace kinestream

extern "C" {

// A stream of a CUDA device. Streams belong to LibTorch and live as long as the process.
struct kinestream_stream {
  int64_t id;
  int64_t device;
};

} // extern "C"

namespace kinestream {

inline c10::Stream unpacked(const kinestream_stream* stream) {
  return c10::Stream::unpack3(
      stream->id,
      static_cast<c10::DeviceIndex>(stream->device),
      c10::DeviceType::CUDA);
}

} // namespace kinestream
