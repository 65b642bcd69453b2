//! What a service looks like, as data: the part of a compiled `.proto` that a caller without it needs.

use protox::prost::Message;
use protox::prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs, io};

/// Writes the descriptors of one service into `OUT_DIR`, for the generated code to include; gives the file's name.
pub(crate) fn write(set: &FileDescriptorSet, package: &str, service: &str) -> io::Result<String> {
    let name = format!("{package}.{service}.descriptor");
    let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&folder).join(&name), of_service(set, package, service).encode_to_vec())?;
    Ok(name)
}

/// The descriptors without what is for people: comments and places.
pub(crate) fn stripped(set: &FileDescriptorSet) -> FileDescriptorSet {
    let mut set = set.clone();
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

/// The one service, and of all types those that its methods lead to. A file comes after those that it imports.
fn of_service(set: &FileDescriptorSet, package: &str, service: &str) -> FileDescriptorSet {
    let mut set = stripped(set);
    for file in &mut set.file {
        let here = file.package() == package;
        file.service.retain(|other| here && other.name() == service);
    }
    let wanted = reachable(&set);
    let mut kept: Vec<FileDescriptorProto> = Vec::new();
    for mut file in set.file {
        let scope = scope(&file);
        file.message_type.retain(|message| wanted.contains(&format!("{scope}.{}", message.name())));
        file.enum_type.retain(|kind| wanted.contains(&format!("{scope}.{}", kind.name())));
        if file.message_type.is_empty() && file.enum_type.is_empty() && file.service.is_empty() {
            continue;
        }
        // What an import is for may be gone; whatever is left comes before.
        file.dependency = kept.iter().map(|file| file.name().to_owned()).collect();
        file.public_dependency.clear();
        file.weak_dependency.clear();
        kept.push(file);
    }
    FileDescriptorSet { file: kept }
}

/// The types at the top of a file that the services of a set lead to, by their full names.
fn reachable(set: &FileDescriptorSet) -> BTreeSet<String> {
    let methods = set.file.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
    let mut next: Vec<String> = methods
        .flat_map(|method| [method.input_type().to_owned(), method.output_type().to_owned()])
        .collect();
    let mut found = BTreeSet::new();
    while let Some(name) = next.pop() {
        for file in &set.file {
            let scope = scope(file);
            let holds = |top: &str| {
                let rest = name.strip_prefix(&format!("{scope}.{top}"));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            for message in file.message_type.iter().filter(|message| holds(message.name())) {
                if found.insert(format!("{scope}.{}", message.name())) {
                    fields_lead_to(message, &mut next);
                }
            }
            let kinds = file.enum_type.iter().filter(|kind| holds(kind.name()));
            found.extend(kinds.map(|kind| format!("{scope}.{}", kind.name())));
        }
    }
    found
}

fn fields_lead_to(message: &DescriptorProto, types: &mut Vec<String>) {
    let named = message.field.iter().map(|field| field.type_name()).filter(|name| !name.is_empty());
    types.extend(named.map(str::to_owned));
    message.nested_type.iter().for_each(|nested| fields_lead_to(nested, types));
}

/// What stands before the names of a file: `.package`, or nothing.
fn scope(file: &FileDescriptorProto) -> String {
    if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_takes_along_what_it_leads_to_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "base.proto",
            "syntax = \"proto3\"; package b; message Used { Kind k = 1; } enum Kind { A = 0; } message Left {}",
        );
        write("idle.proto", "syntax = \"proto3\"; package i; message Nobody {}");
        write(
            "top.proto",
            "syntax = \"proto3\"; package t; import \"base.proto\"; import \"idle.proto\";
             // What people read.
             service One { rpc Go(In) returns (Out); }
             service Two { rpc Go(Other) returns (i.Nobody); }
             message In { map<string, Deep.Inner> deep = 1; message Own {} }
             message Out { b.Used used = 1; In again = 2; }
             message Deep { message Inner { int32 x = 1; } }
             message Other {}",
        );
        let set = protox::compile(["top.proto"], [folder.path()]).unwrap();
        let one = of_service(&set, "t", "One");
        let names: Vec<_> = one.file.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(names, ["base.proto", "top.proto"]);
        let messages = |file: &FileDescriptorProto| -> Vec<String> {
            file.message_type.iter().map(|message| message.name().to_owned()).collect()
        };
        assert_eq!(
            (messages(&one.file[0]), messages(&one.file[1])),
            (vec!["Used".into()], vec!["In".into(), "Out".into(), "Deep".into()])
        );
        assert_eq!((one.file[0].enum_type.len(), one.file[1].service.len()), (1, 1));
        assert!(one.file.iter().all(|file| file.source_code_info.is_none()));
        // It is whole: whoever reads it finds each type.
        protox::prost_reflect::DescriptorPool::from_file_descriptor_set(one).unwrap();
    }
}
