//! Messages of ROS 2 that robots and their tools understand, as plain structs.
//!
//! Names, fields and their order are those of the `.msg` files of `common_interfaces`; type hashes are RIHS01 (REP-2016),
//! as `rosbags` works them out (`bridge/golden/ros2/hashes.txt`). Lengths of arrays that depend on each other (a joint's
//! name and its position) are the sender's business, and are not checked here.

use super::cdr::{CdrError, Reader, Writer};

/// Longest image that is taken: 4096 by 4096 points of four bytes.
const IMAGE_BYTES: usize = 64 << 20;

/// A message with its place in ROS 2's world of types.
pub trait Message: Sized {
    /// Package and name, `sensor_msgs/msg/JointState`.
    const NAME: &'static str;
    /// Hash of the type's description, `RIHS01_` and 64 digits.
    const HASH: &'static str;
    /// Longest payload that is taken from others.
    const MOST_BYTES: usize = 1 << 20;

    /// Writes the fields.
    fn write(&self, writer: &mut Writer);

    /// Reads the fields.
    ///
    /// # Errors
    /// [`CdrError`] says which field, and where.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError>;

    /// The bytes on the wire.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.finish()
    }

    /// A message from bytes that may be anybody's.
    ///
    /// # Errors
    /// [`CdrError`] says what was expected.
    fn decode(bytes: &[u8]) -> Result<Self, CdrError> {
        let mut reader = Reader::new(bytes)?;
        let message = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }
}

/// Parts of messages: written and read, but not sent alone.
trait Part: Sized {
    /// Bytes that one takes at least, so that a count can be judged.
    const LEAST: usize;

    fn put(&self, writer: &mut Writer);
    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError>;
}

/// `builtin_interfaces/msg/Time`: since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds.
    pub sec: i32,
    /// Nanoseconds on top, below a milliard.
    pub nanosec: u32,
}

impl Time {
    /// Nanoseconds since the epoch; 0 before it.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        u64::try_from(self.sec).unwrap_or(0) * 1_000_000_000 + u64::from(self.nanosec)
    }

    /// From nanoseconds since the epoch; after 2038 it stays at the last second that the field can hold.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self {
            sec: i32::try_from(nanoseconds / 1_000_000_000).unwrap_or(i32::MAX),
            nanosec: (nanoseconds % 1_000_000_000) as u32,
        }
    }
}

/// `std_msgs/msg/Header`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// When.
    pub stamp: Time,
    /// In which frame of reference.
    pub frame_id: String,
}

/// `geometry_msgs/msg/Vector3`, or a `Point`.
pub type Vector3 = [f64; 3];
/// `geometry_msgs/msg/Quaternion`: x, y, z, w.
pub type Quaternion = [f64; 4];

/// `std_msgs/msg/String`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub data: String,
}

/// `std_msgs/msg/MultiArrayDimension`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dimension {
    /// Name.
    pub label: String,
    /// Elements.
    pub size: u32,
    /// Numbers from one element to the next, times their count.
    pub stride: u32,
}

/// `std_msgs/msg/Float64MultiArray`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Float64MultiArray {
    /// The shape.
    pub dimensions: Vec<Dimension>,
    /// Numbers before the first.
    pub data_offset: u32,
    /// The numbers.
    pub data: Vec<f64>,
}

/// `sensor_msgs/msg/JointState`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JointState {
    /// When.
    pub header: Header,
    /// Names of the joints.
    pub name: Vec<String>,
    /// rad or m.
    pub position: Vec<f64>,
    /// rad/s or m/s; may be empty.
    pub velocity: Vec<f64>,
    /// N m or N; may be empty.
    pub effort: Vec<f64>,
}

/// `trajectory_msgs/msg/JointTrajectoryPoint`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JointTrajectoryPoint {
    /// rad or m.
    pub positions: Vec<f64>,
    /// rad/s or m/s; may be empty.
    pub velocities: Vec<f64>,
    /// rad/s² or m/s²; may be empty.
    pub accelerations: Vec<f64>,
    /// N m or N; may be empty.
    pub effort: Vec<f64>,
    /// From the header's stamp on: seconds and nanoseconds.
    pub time_from_start: (i32, u32),
}

/// `trajectory_msgs/msg/JointTrajectory`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JointTrajectory {
    /// When it begins.
    pub header: Header,
    /// Names of the joints.
    pub joint_names: Vec<String>,
    /// Where to be when.
    pub points: Vec<JointTrajectoryPoint>,
}

/// `geometry_msgs/msg/Twist`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Twist {
    /// m/s.
    pub linear: Vector3,
    /// rad/s.
    pub angular: Vector3,
}

/// `geometry_msgs/msg/PoseStamped`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoseStamped {
    /// When and in which frame.
    pub header: Header,
    /// m.
    pub position: Vector3,
    /// x, y, z, w.
    pub orientation: Quaternion,
}

/// `geometry_msgs/msg/TransformStamped`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TransformStamped {
    /// When, and the parent's frame.
    pub header: Header,
    /// The frame that it places.
    pub child_frame_id: String,
    /// m.
    pub translation: Vector3,
    /// x, y, z, w.
    pub rotation: Quaternion,
}

/// `tf2_msgs/msg/TFMessage`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TfMessage {
    /// The transforms.
    pub transforms: Vec<TransformStamped>,
}

/// `sensor_msgs/msg/Image`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// When and by which camera.
    pub header: Header,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// `rgb8`, `mono8`, ...
    pub encoding: String,
    /// 1 where numbers are big-endian.
    pub is_bigendian: u8,
    /// Bytes of a row.
    pub step: u32,
    /// `step` times `height` bytes.
    pub data: Vec<u8>,
}

/// `sensor_msgs/msg/CompressedImage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompressedImage {
    /// When and by which camera.
    pub header: Header,
    /// `jpeg`, `png`.
    pub format: String,
    /// The file's bytes.
    pub data: Vec<u8>,
}

/// Writes and reads the fields of a struct in their order, each as its type does.
macro_rules! parts {
    ($($type:ident, $least:expr, { $($field:ident),* });* $(;)?) => {
        $(
            impl Part for $type {
                const LEAST: usize = $least;

                fn put(&self, writer: &mut Writer) {
                    $( self.$field.put(writer); )*
                }

                fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
                    Ok(Self { $( $field: Part::get(reader)? ),* })
                }
            }
        )*
    };
}

parts! {
    Time, 8, { sec, nanosec };
    Header, 12, { stamp, frame_id };
    Text, 4, { data };
    Dimension, 12, { label, size, stride };
    Float64MultiArray, 12, { dimensions, data_offset, data };
    JointState, 28, { header, name, position, velocity, effort };
    JointTrajectoryPoint, 24, { positions, velocities, accelerations, effort, time_from_start };
    JointTrajectory, 20, { header, joint_names, points };
    Twist, 48, { linear, angular };
    PoseStamped, 68, { header, position, orientation };
    TransformStamped, 72, { header, child_frame_id, translation, rotation };
    TfMessage, 4, { transforms };
    Image, 32, { header, height, width, encoding, is_bigendian, step, data };
    CompressedImage, 20, { header, format, data };
}

macro_rules! messages {
    ($($type:ident, $name:literal, $hash:literal $(, $most:expr)?);* $(;)?) => {
        $(
            impl Message for $type {
                $( const MOST_BYTES: usize = $most; )?
                const NAME: &'static str = $name;
                const HASH: &'static str = concat!("RIHS01_", $hash);

                fn write(&self, writer: &mut Writer) {
                    self.put(writer);
                }

                fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
                    Self::get(reader)
                }
            }
        )*
    };
}

messages! {
    Text, "std_msgs/msg/String", "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18";
    Float64MultiArray, "std_msgs/msg/Float64MultiArray", "1025ddc6b9552d191f89ef1a8d2f60f3d373e28b283d8891ddcc974e8c55397f";
    JointState, "sensor_msgs/msg/JointState", "a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e";
    JointTrajectory, "trajectory_msgs/msg/JointTrajectory", "179b33eba59d676f6d967ac71fe35e7ca2f64b2f3928f4a018cec115e213796e";
    Twist, "geometry_msgs/msg/Twist", "9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a";
    PoseStamped, "geometry_msgs/msg/PoseStamped", "10f3786d7d40fd2b54367835614bff85d4ad3b5dab62bf8bca0cc232d73b4cd8";
    TfMessage, "tf2_msgs/msg/TFMessage", "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087";
    Image, "sensor_msgs/msg/Image", "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47", IMAGE_BYTES;
    CompressedImage, "sensor_msgs/msg/CompressedImage", "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a", IMAGE_BYTES;
}

impl Part for i32 {
    const LEAST: usize = 4;

    fn put(&self, writer: &mut Writer) {
        writer.i32(*self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.i32("a number")
    }
}

impl Part for u32 {
    const LEAST: usize = 4;

    fn put(&self, writer: &mut Writer) {
        writer.u32(*self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.u32("a number")
    }
}

impl Part for u8 {
    const LEAST: usize = 1;

    fn put(&self, writer: &mut Writer) {
        writer.u8(*self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.u8("a byte")
    }
}

impl Part for f64 {
    const LEAST: usize = 8;

    fn put(&self, writer: &mut Writer) {
        writer.f64(*self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.f64("a number")
    }
}

impl Part for String {
    const LEAST: usize = 4;

    fn put(&self, writer: &mut Writer) {
        writer.text(self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.text("a text")
    }
}

impl Part for (i32, u32) {
    const LEAST: usize = 8;

    fn put(&self, writer: &mut Writer) {
        writer.i32(self.0);
        writer.u32(self.1);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok((reader.i32("seconds")?, reader.u32("nanoseconds")?))
    }
}

impl<T: Part + Copy + Default, const N: usize> Part for [T; N] {
    const LEAST: usize = N * T::LEAST;

    fn put(&self, writer: &mut Writer) {
        self.iter().for_each(|part| part.put(writer));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        let mut parts = [T::default(); N];
        for part in &mut parts {
            *part = T::get(reader)?;
        }
        Ok(parts)
    }
}

impl<T: Part> Part for Vec<T> {
    const LEAST: usize = 4;

    fn put(&self, writer: &mut Writer) {
        writer.each(self, |writer, part| part.put(writer));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        reader.each("a sequence", T::LEAST, T::get)
    }
}
