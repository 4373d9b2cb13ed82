//! Messages of ROS 2 as CDR, and the attachment that rmw_zenoh sends beside them.

#![no_main]

use kinestream_bridge::ros2::messages::{
    CompressedImage, Float64MultiArray, Image, JointState, JointTrajectory, Message, PoseStamped,
    Text, TfMessage, Twist,
};
use kinestream_bridge::ros2::names::Attachment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Text::decode(bytes);
    let _ = Float64MultiArray::decode(bytes);
    let _ = JointState::decode(bytes);
    let _ = JointTrajectory::decode(bytes);
    let _ = Twist::decode(bytes);
    let _ = PoseStamped::decode(bytes);
    let _ = TfMessage::decode(bytes);
    let _ = Image::decode(bytes);
    let _ = CompressedImage::decode(bytes);
    let _ = Attachment::decode(bytes);
});
